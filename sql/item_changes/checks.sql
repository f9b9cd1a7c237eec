-- Every item has one row, its index, and the day on which it changed.
select
  count(*) - count(distinct item_id) as `#fail items with more than one row`,
  count_if(item_index is null or item_index < 2) as `#fail items without an index`,
  count_if(epoch_day is null or epoch_day != datediff(ds, date'1970-01-01'))
    as `#fail rows whose epoch_day is not that of the day`
from {rows}

-- Every item has one row and an index of its own.
select
  count(*) - count(distinct item_id) as `#fail items with more than one row`,
  count(*) - count(distinct item_index) as `#fail items that share an index`,
  count_if(item_index is null or item_index < 2) as `#fail items without an index`,
  count_if(available is null) as `#fail items with unknown availability`,
  int(count_if(available) = 0) as `#warn no item is available`
from {rows}

-- A pair has one row, with the smaller index first.
select
  count(*) - count(distinct item_index, other_index) as `#fail pairs with more than one row`,
  count_if(item_index is null or other_index is null or item_index < 2 or item_index >= other_index)
    as `#fail pairs that are not two items in ascending order`,
  count_if(weight is null or weight <= 0) as `#fail pairs without a weight`
from {rows}

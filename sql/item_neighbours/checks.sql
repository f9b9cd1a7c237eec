-- An item has one row, with neighbours other than itself and similarities up to 1.
select
  count(*) - count(distinct item_index) as `#fail items with more than one row`,
  count_if(exists(neighbours, one -> one.item_index is null or one.item_index < 2 or one.item_index = item_index))
    as `#fail items with a neighbour that is not another item`,
  count_if(exists(neighbours, one -> one.similarity is null or one.similarity <= 0 or one.similarity > 1.000001))
    as `#fail items with a similarity outside 0 to 1`
from {rows}

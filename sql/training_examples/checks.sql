-- An example has a user, an item and a finite weight, and its own item is not among its negatives.
select
  count_if(user_index is null or user_index < 2 or item_index is null or item_index < 2)
    as `#fail examples without a user or an item`,
  count_if(not weight >= 0 or weight = float('infinity')) as `#fail examples whose weight is negative or not finite`,
  count_if(array_contains(unclicked, item_index)) as `#fail examples whose own item is among their unclicked ones`
from {rows}

-- The items that each user is not shown again, by the exclusion rule with which the histories were built.
select
  user_id,
  history,
  array_sort(array_distinct(flatten(transform(clicked, day -> day.item_indices)))) as excluded
from {user_histories}

-- What each user is not shown again, as the exclusion rule had it when the histories were built.
select
  user_id,
  history,
  array_sort(array_distinct(flatten(transform(clicked, day -> day.item_indices)))) as excluded
from {user_histories}

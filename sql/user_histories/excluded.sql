-- The histories, and the items that each user is not shown again, by the exclusion rule with which they were built.
select
  * except (ds, clicked),
  array_sort(array_distinct(flatten(transform(clicked, day -> day.item_indices)))) as excluded
from {user_histories}

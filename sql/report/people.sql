-- A sample of users with their last :shown clicks, newest first, and their first :shown candidates. The users are the same
-- every day, as long as they have a list.
with some as (
  select lists.user_id, slice(lists.candidates, 1, :shown) as candidates, size(lists.candidates) as listed
  from {candidates} as lists
  order by xxhash64(lists.user_id), lists.user_id
  limit :people
)

select
  some.user_id,
  some.candidates,
  some.listed,
  slice(reverse(filter(coalesce(histories.history, cast(array() as array<int>)), item -> item > 0)), 1, :shown) as history,
  size(filter(coalesce(histories.history, cast(array() as array<int>)), item -> item > 0)) as remembered
from some
left join {user_histories} as histories on histories.user_id = some.user_id
order by xxhash64(some.user_id), some.user_id

-- Every user of the snapshot, with the history that the user tower reads and the items to exclude.
select
  users.*,
  coalesce(histories.history, cast(array() as array<int>)) as clicks,
  coalesce(histories.excluded, cast(array() as array<int>)) as excluded,
  histories.user_id is null as is_cold
from {user_snapshot} as users
left join {user_histories} as histories on histories.user_id = users.user_id

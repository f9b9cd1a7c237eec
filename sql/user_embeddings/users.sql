-- Every user of the snapshot, with the history that the user tower reads and the items to exclude. history_gaps: how many
-- minutes before :minute each click was; null if its time is not known.
select
  users.*,
  coalesce(histories.history, cast(array() as array<int>)) as clicks,
  histories.clicked_minutes,
  transform(
    coalesce(histories.clicked_minutes, transform(histories.history, item_index -> cast(null as int))),
    clicked_minute -> :minute - clicked_minute
  ) as history_gaps,
  coalesce(histories.excluded, cast(array() as array<int>)) as excluded,
  histories.user_id is null as is_cold
from {user_snapshot} as users
left join {user_histories} as histories on histories.user_id = users.user_id

-- Each click of the day as an example, with the user's last clicks strictly before the impression.
-- The day's own clicks are carried along in time order: at equal times an impression comes before a click, so no
-- example sees a click that is not older than itself, its own least of all.
with clicks as (
  select
    interactions.impression_id,
    interactions.user_id,
    interactions.item_id,
    interactions.impressed_at,
    interactions.clicked_at,
    items.index as item_index
  from {interactions} as interactions
  inner join {vocabularies} as items on items.feature = 'item_id' and items.value = interactions.item_id
  where interactions.clicked
),

-- what a user had clicked on this day up to and including each click, at most :length
running as (
  select
    user_id,
    clicked_at,
    impression_id,
    row_number() over (
      partition by user_id
      order by clicked_at, item_index, impression_id
    ) as place,
    collect_list(item_index) over (
      partition by user_id
      order by clicked_at, item_index, impression_id
      rows between :length preceding and current row
    ) as items_so_far
  from clicks
),

timeline as (
  select user_id, impressed_at as at, 0 as is_click, impression_id, cast(null as array<int>) as items_so_far, 0 as place
  from clicks
  union all
  select user_id, clicked_at as at, 1 as is_click, impression_id, items_so_far, place
  from running
),

seen as (
  select
    impression_id,
    is_click,
    last_value(items_so_far) ignore nulls over (
      partition by user_id
      order by at, is_click, place, impression_id
      rows between unbounded preceding and current row
    ) as items_today
  from timeline
)

select
  clicks.impression_id,
  clicks.user_id,
  clicks.item_id,
  clicks.impressed_at,
  users.index as user_index,
  clicks.item_index,
  concat(
    coalesce(before.history, cast(array() as array<int>)),
    coalesce(seen.items_today, cast(array() as array<int>))
  ) as clicks_before
from clicks
inner join seen on seen.impression_id = clicks.impression_id and seen.is_click = 0
inner join {vocabularies} as users on users.feature = 'user_id' and users.value = clicks.user_id
left join {before} as before on before.user_id = clicks.user_id

-- Each click of the day as an example, with the user's last clicks strictly before the impression.
-- An example and its click are two events of the user's day. At equal times impressions come before clicks, so that an
-- example sees only older clicks and never its own. Its weight is the click's reward; 1 if there is none or it is too large
-- for a float. gaps_before has the minutes from each of these clicks to the impression, null for a click without a time. Where
-- they are read (:gaps), a click that is in the history of the day before but happened later, after midnight, is left out.
with events as (
  select
    clicks.impression_id,
    clicks.user_id,
    clicks.item_id,
    clicks.impressed_at,
    if(float(clicks.reward) < float('infinity'), float(clicks.reward), float(1)) as weight,
    items.index as item_index,
    event.at,
    int(unix_seconds(event.at) div 60) as minute,
    event.is_click
  from {interactions} as clicks
  inner join {vocabularies} as items on items.feature = 'item_id' and items.value = clicks.item_id
  lateral view inline(array(
    struct(clicks.impressed_at as at, 0 as is_click),
    struct(clicks.clicked_at as at, 1 as is_click)
  )) event as at, is_click
  where clicks.clicked
),

-- the number of the user's clicks up to an event
counted as (
  select
    *,
    sum(is_click) over (
      partition by user_id
      order by at, is_click, item_index, impression_id
      rows between unbounded preceding and current row
    ) as clicks_so_far
  from events
),

-- a window frame over that number has the last clicks, however many examples are between them
with_clicks as (
  select
    *,
    collect_list(if(is_click = 1, item_index, null)) over (
      partition by user_id
      order by clicks_so_far
      range between :others preceding and current row
    ) as clicks_today,
    collect_list(if(is_click = 1, minute, null)) over (
      partition by user_id
      order by clicks_so_far
      range between :others preceding and current row
    ) as minutes_today
  from counted
),

-- a hash selects the share :share of all examples; at most :per_user of each user are taken
sampled as (
  select
    *,
    row_number() over (partition by user_id order by xxhash64(impression_id), impression_id) as number
  from with_clicks
  where is_click = 0 and pmod(xxhash64(impression_id, 'share'), 1000000) < :share * 1000000
),

with_history as (
  select
    examples.*,
    coalesce(before.history, cast(array() as array<int>)) as history,
    coalesce(
      before.clicked_minutes, transform(coalesce(before.history, array()), item_index -> cast(null as int))
    ) as clicked_minutes
  from sampled as examples
  left join {before} as before on before.user_id = examples.user_id
  where examples.number <= :per_user
)

select
  impression_id,
  user_id,
  item_id,
  impressed_at,
  item_index,
  weight,
  concat(
    if(:gaps, filter(history, (item, n) -> coalesce(clicked_minutes[n] < minute, true)), history), clicks_today
  ) as clicks_before,
  transform(
    concat(filter(clicked_minutes, clicked_minute -> coalesce(clicked_minute < minute, true)), minutes_today),
    clicked_minute -> minute - clicked_minute
  ) as gaps_before
from with_history

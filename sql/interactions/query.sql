-- Each impression of the day with its outcome: clicked where a click lies in [impressed_at, impressed_at + window].
-- The first such click counts; a duplicated impression_id is kept once, the same one on every run.
with distinct_impressions as (
  select
    *,
    row_number() over (
      partition by impression_id
      order by impressed_at, user_id, item_id, request_id, position
    ) as copy
  from {impressions}
  where ds = :ds
),

click_times as (
  select impression_id, collect_set(clicked_at) as times
  from {clicks}
  where ds between :ds and :last_click_ds
  group by impression_id
),

outcomes as (
  select
    impressions.*,
    array_min(filter(
      clicks.times,
      t -> t >= impressions.impressed_at
        and t <= impressions.impressed_at + make_dt_interval(0, :window_hours)
    )) as first_click
  from distinct_impressions as impressions
  left join click_times as clicks on clicks.impression_id = impressions.impression_id
  where impressions.copy = 1
)

select
  ds,
  impression_id,
  request_id,
  user_id,
  item_id,
  position,
  impressed_at,
  first_click is not null as clicked,
  first_click as clicked_at
from outcomes

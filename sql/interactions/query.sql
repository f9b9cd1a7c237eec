-- Each impression of the day with its outcome: clicked where a click lies in [impressed_at, impressed_at + window].
-- The first such click counts, with its reward, the largest where several lie at that time; a duplicated impression_id
-- is kept once, the same one on every run.
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

distinct_clicks as (
  select impression_id, clicked_at, max(reward) as reward
  from {clicks}
  where ds between :ds and :last_click_ds
  group by impression_id, clicked_at
),

clicks_of_impressions as (
  select impression_id, collect_list(struct(clicked_at as at, reward)) as clicks
  from distinct_clicks
  group by impression_id
),

outcomes as (
  select
    impressions.*,
    array_min(filter(
      landed.clicks,
      click -> click.at >= impressions.impressed_at
        and click.at <= impressions.impressed_at + make_dt_interval(0, :window_hours)
    )) as first_click
  from distinct_impressions as impressions
  left join clicks_of_impressions as landed on landed.impression_id = impressions.impression_id
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
  first_click.at as clicked_at,
  first_click.reward as reward
from outcomes

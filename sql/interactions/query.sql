-- Each impression of the day with its outcome. It is clicked if the time of a click is in [impressed_at - clock skew,
-- impressed_at + window]. The first such click counts, with its reward; if several have the same time, with the largest
-- reward. An impression_id counts once, on the day on which it landed first; if several copies landed on that day, every
-- run takes the same one.
with landed_before as (
  select impression_id
  from {impressions}
  where ds between :first_copy_ds and :day_before
),

numbered as (
  select
    *,
    row_number() over (
      partition by impression_id
      order by impressed_at, user_id, item_id, request_id, position
    ) as copy
  from {impressions}
  where ds = :ds
),

clicks_of_impressions as (
  select impression_id, collect_list(struct(clicked_at as at, reward)) as clicks
  from {clicks}
  where ds between :first_click_ds and :last_click_ds
  group by impression_id
),

outcomes as (
  select
    impressions.*,
    impressions.impressed_at + make_dt_interval(0, :window_hours) as window_end,
    filter(
      landed.clicks,
      click -> click.at >= timestampadd(second, -:clock_skew_seconds, impressions.impressed_at)
        and click.at <= impressions.impressed_at + make_dt_interval(0, :window_hours)
    ) as valid_clicks
  from numbered as impressions
  left anti join landed_before on landed_before.impression_id = impressions.impression_id
  left join clicks_of_impressions as landed on landed.impression_id = impressions.impression_id
  where impressions.copy = 1
),

first_clicks as (
  select
    *,
    array_min(transform(valid_clicks, click -> click.at)) as first_clicked_at
  from outcomes
)

select
  ds,
  impression_id,
  request_id,
  user_id,
  item_id,
  position,
  impressed_at,
  first_clicked_at is not null as clicked,
  first_clicked_at as clicked_at,
  array_max(transform(filter(valid_clicks, click -> click.at = first_clicked_at), click -> click.reward)) as reward,
  window_end as outcome_final_at
from first_clicks

-- Each impression of the day with its outcome. It is clicked if the time of a click is in [impressed_at - clock skew,
-- impressed_at + window]. The first such click counts, with its reward; if several have the same time, with the largest
-- reward. An impression_id counts once, on the day on which it landed first; if several copies landed on that day, every
-- run takes the same one. Only ids in {repeated} are compared with each other, so that the others need not be shuffled.
-- Impressions of users in {set_aside} are left out.
with today as (
  select *
  from {impressions}
  where ds = :ds
),

landed_before as (
  select impressions.impression_id
  from {impressions} as impressions
  left semi join {repeated} as repeated on repeated.id = xxhash64(impressions.impression_id)
  where impressions.ds between :first_copy_ds and :day_before
),

numbered as (
  select
    today.*,
    row_number() over (
      partition by today.impression_id
      order by today.impressed_at, today.user_id, today.item_id, today.request_id, today.position
    ) as copy
  from today
  left semi join {repeated} as repeated on repeated.id = xxhash64(today.impression_id)
),

first_copies as (
  select today.*
  from today
  left anti join {repeated} as repeated on repeated.id = xxhash64(today.impression_id)
  union all
  select numbered.* except (copy)
  from numbered
  left anti join landed_before on landed_before.impression_id = numbered.impression_id
  where numbered.copy = 1
),

impressions as (
  select first_copies.*
  from first_copies
  left anti join {set_aside} as set_aside on set_aside.user_id = first_copies.user_id
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
  from impressions
  left join clicks_of_impressions as landed on landed.impression_id = impressions.impression_id
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

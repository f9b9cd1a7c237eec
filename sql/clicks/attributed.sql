-- Clicks without an impression_id, each with the latest impression of its user and item before it, or up to
-- :clock_skew_seconds after it; null if there is none. Later queries check whether the click is inside the attribution
-- window of this impression. Only impressions of {pairs}, the users and items of the clicks, are sorted with the clicks.
with events as (
  select
    impressions.user_id,
    impressions.item_id,
    timestampadd(second, -:clock_skew_seconds, impressions.impressed_at) as at,
    0 as is_click,
    impressions.impression_id,
    cast(null as date) as ds,
    cast(null as timestamp) as clicked_at,
    cast(null as double) as reward
  from {impressions} as impressions
  left semi join {pairs} as pairs on pairs.user_id = impressions.user_id and pairs.item_id = impressions.item_id
  union all
  select user_id, item_id, clicked_at as at, 1 as is_click, null as impression_id, ds, clicked_at, reward
  from {clicks}
),

attributed as (
  select
    *,
    last_value(impression_id) ignore nulls over (
      partition by user_id, item_id
      order by at, is_click, impression_id
      rows between unbounded preceding and current row
    ) as latest_impression_id
  from events
)

select ds, latest_impression_id as impression_id, user_id, item_id, clicked_at, reward
from attributed
where is_click = 1

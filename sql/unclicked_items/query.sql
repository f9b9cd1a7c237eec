-- Items that were exposed at least :minimum_exposures times in the window and never clicked in it. An exposure counts
-- once its attribution window has closed by the end of the day: before that nobody knows that it stays unclicked.
with closed_days as (
  select item_id, sum(impressions) as exposures
  from {daily_item_counts}
  where ds <= :last_closed_ds
  group by item_id
),

closing_days as (
  select item_id, count(*) as exposures
  from {interactions}
  where ds > :last_closed_ds
    and impressed_at + make_dt_interval(0, :window_hours) <= :day_end
  group by item_id
),

clicked as (
  select item_id, max(item_index) as item_index, sum(clicks) as clicks
  from {daily_item_counts}
  group by item_id
)

select
  clicked.item_id,
  clicked.item_index,
  coalesce(closed_days.exposures, 0) + coalesce(closing_days.exposures, 0) as exposures
from clicked
left join closed_days on closed_days.item_id = clicked.item_id
left join closing_days on closing_days.item_id = clicked.item_id
where clicked.clicks = 0
  and coalesce(closed_days.exposures, 0) + coalesce(closing_days.exposures, 0) >= :minimum_exposures

-- Every row of the log is counted exactly once. If there are at least :min_days earlier days, volume and click rate are
-- compared with their means: they may differ by :band standard deviations or :band percent, whichever is larger.
with earlier as (
  select
    count(*) as days,
    avg(impressions) as mean_impressions,
    greatest(:band * stddev_pop(impressions), :band / 100 * avg(impressions)) as impressions_band,
    avg(try_divide(clicked, interactions)) as mean_rate,
    greatest(
      :band * stddev_pop(try_divide(clicked, interactions)),
      :band / 100 * avg(try_divide(clicked, interactions))
    ) as rate_band
  from {past}
),

today as (
  select
    *,
    days >= :min_days and abs(impressions - mean_impressions) > impressions_band as volume_is_unusual,
    days >= :min_days and abs(try_divide(clicked, interactions) - mean_rate) > rate_band as rate_is_unusual
  from {rows}
  cross join earlier
)

select
  first(impressions - interactions - set_aside_impressions - duplicate_impressions - refused_impressions)
    as `#fail impressions that are neither interactions nor set aside, duplicate or refused`,
  first(
    clicks - matched_clicks - set_aside_clicks - orphan_clicks - early_clicks - late_clicks - duplicate_clicks
      - refused_clicks
  ) as `#fail clicks that are neither matched nor set aside, orphan, early, late, duplicate or refused`,
  first(missed) as `#fail first clicks that are missing in interactions`,
  first(clicked - first_clicks) as `#fail interactions that are clicked without a first click`,
  first(set_aside_users) as `#warn users who are set aside for the day (log.max_impressions_per_user)`,
  first(conflicting_impressions) as `#warn impressions that landed twice with different contents`,
  first(conflicting_clicks) as `#warn clicks that landed twice with different contents`,
  first(if(volume_is_unusual, impressions, 0)) as `#warn number of impressions is outside the range of earlier days`,
  first(if(rate_is_unusual, try_divide(clicked, interactions), 0))
    as `#warn click rate is outside the range of earlier days`
from today

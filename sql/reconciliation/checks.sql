-- The volume and click rate of a day are compared with those of the days before it, once there are enough of them: a
-- band of :band deviations round their mean, and never narrower than :band percent of it.
with usual as (
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
    days >= :least_days and abs(impressions - mean_impressions) > impressions_band as volume_is_odd,
    days >= :least_days and abs(try_divide(clicked, interactions) - mean_rate) > rate_band as rate_is_odd
  from {rows}
  cross join usual
)

select
  first(impressions - interactions - duplicate_impressions - refused_impressions)
    as `#fail impressions that are neither interactions nor duplicate nor refused`,
  first(
    clicks - matched_clicks - orphan_clicks - early_clicks - late_clicks - duplicate_clicks - refused_clicks
  ) as `#fail clicks that are neither matched nor orphan, early, late, duplicate or refused`,
  first(missed) as `#fail first clicks that interactions lack`,
  first(clicked - first_clicks) as `#fail interactions that are clicked without a first click`,
  first(conflicting_impressions) as `#warn impressions that landed twice and differ`,
  first(conflicting_clicks) as `#warn clicks that landed twice and differ`,
  first(if(volume_is_odd, impressions, 0)) as `#warn impressions, outside the band of the days before`,
  first(if(rate_is_odd, try_divide(clicked, interactions), 0))
    as `#warn clicks an impression, outside the band of the days before`
from today

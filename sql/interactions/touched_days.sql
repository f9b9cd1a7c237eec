-- The earlier days whose outcomes depend on a click that landed on :ds: the first one inside an impression's window. A day
-- counts even if its outcome has this click already, since the tables that depend on it may not have been built.
select distinct impressions.ds
from {interactions} as impressions
inner join {clicks} as clicks
  on clicks.impression_id = impressions.impression_id
  and clicks.ds = :ds
where impressions.ds between :first_ds and :day_before
  and clicks.clicked_at >= timestampadd(second, -:clock_skew_seconds, impressions.impressed_at)
  and clicks.clicked_at <= impressions.outcome_final_at
  and (not impressions.clicked or clicks.clicked_at <= impressions.clicked_at)

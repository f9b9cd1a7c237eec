-- The days before :ds with an impression whose first click inside its window landed on :ds. A day is also returned if its
-- outcomes already have this click, because the tables that are built from them may not have it yet.
select distinct impressions.ds
from {interactions} as impressions
inner join {clicks} as clicks
  on clicks.impression_id = impressions.impression_id
  and clicks.ds = :ds
where impressions.ds between :first_ds and :day_before
  and clicks.clicked_at >= timestampadd(second, -:clock_skew_seconds, impressions.impressed_at)
  and clicks.clicked_at <= impressions.outcome_final_at
  and (not impressions.clicked or clicks.clicked_at <= impressions.clicked_at)

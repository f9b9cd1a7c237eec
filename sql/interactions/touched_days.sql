-- The earlier days whose outcomes change because of a click that landed on this one: it is the first inside its window.
-- Where it is the outcome already, the day still counts: what follows from it may not have been built.
select distinct impressions.ds
from {interactions} as impressions
inner join {clicks} as clicks
  on clicks.impression_id = impressions.impression_id
  and clicks.ds = :ds
where impressions.ds between :first_ds and :day_before
  and clicks.clicked_at >= timestampadd(second, -:clock_skew_seconds, impressions.impressed_at)
  and clicks.clicked_at <= impressions.outcome_final_at
  and (not impressions.clicked or clicks.clicked_at <= impressions.clicked_at)

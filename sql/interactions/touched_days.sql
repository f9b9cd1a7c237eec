-- The earlier days whose outcomes change because of a click that landed on this one.
select distinct impressions.ds
from {impressions} as impressions
left semi join {clicks} as clicks
  on clicks.impression_id = impressions.impression_id
  and clicks.ds = :ds
where impressions.ds between :first_ds and :day_before

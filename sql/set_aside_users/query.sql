-- The users of whom more than :max_impressions impressions landed on :ds, copies included: programs rather than people, or
-- an id that many people share. It depends on the day's impressions alone, so that a day that is built again because of late
-- clicks sets the same users aside.
select user_id, count(*) as impressions
from {impressions}
where ds = :ds
group by user_id
having count(*) > :max_impressions

-- For each channel: its entries in the candidate lists, and the users who have an entry of it.
select
  place.source,
  count(*) as places,
  count(distinct user_id) as users
from (select lists.user_id, explode(lists.candidates) as place from {candidates} as lists)
group by place.source
order by place.source

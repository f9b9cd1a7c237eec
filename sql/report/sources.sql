-- For each channel: the number of its entries (places) in the candidate lists, and of the users with such an entry.
select
  place.source,
  count(*) as places,
  count(distinct user_id) as users
from (select lists.user_id, explode(lists.candidates) as place from {candidates} as lists)
group by place.source
order by place.source

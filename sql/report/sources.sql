-- Of each channel: its places in the candidate lists, and the users to whom it names an item.
select
  place.source,
  count(*) as places,
  count(distinct user_id) as users
from (select lists.user_id, explode(lists.candidates) as place from {candidates} as lists)
group by place.source
order by place.source

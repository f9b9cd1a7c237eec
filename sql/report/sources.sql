-- For each channel: the number of its positions in the candidate lists, and of the users with such a position.
select
  entry.source,
  count(*) as positions,
  count(distinct user_id) as users
from (select lists.user_id, explode(lists.candidates) as entry from {candidates} as lists)
group by entry.source
order by entry.source

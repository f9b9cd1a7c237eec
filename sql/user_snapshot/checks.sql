-- A user is there once, with an index of their own, and was seen when they can have been.
select
  count(*) - count(distinct user_id) as `#fail users with more than one row`,
  count(*) - count(distinct user_index) as `#fail users who share an index`,
  count_if(user_index is null or user_index < 2) as `#fail users without an index`,
  count_if(last_seen > ds or first_seen > last_seen) as `#fail users who were seen after the day or before they came`
from {rows}

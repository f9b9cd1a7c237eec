-- Every user has one row, an index of their own, and consistent days first_seen and last_seen.
select
  count(*) - count(distinct user_id) as `#fail users with more than one row`,
  count(*) - count(distinct user_index) as `#fail users who share an index`,
  count_if(user_index is null or user_index < 2) as `#fail users without an index`,
  count_if(last_seen > ds or first_seen > last_seen) as `#fail users seen after the day, or last seen before first seen`
from {rows}

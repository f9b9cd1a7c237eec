-- Every user has one row, a history of valid item indices, and no clicks after the day.
select
  count(*) - count(distinct user_id) as `#fail users with more than one row`,
  count_if(exists(history, index -> index is null or index < 2)) as `#fail histories with an index that is not an item`,
  count_if(exists(clicked, day -> day.ds > ds)) as `#fail users who clicked after the day`
from {rows}

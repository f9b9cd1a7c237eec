-- How many of a day's lists are shorter than :k, as a share, and when the last of them was scored.
select
  try_divide(double(count_if(size(candidates) < :k)), count(*)) as short_lists,
  max(scored_at) as scored_at
from {candidates}

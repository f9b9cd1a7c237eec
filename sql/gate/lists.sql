-- The share of a day's lists that are shorter than :k.
select try_divide(double(count_if(size(candidates) < :k)), count(*)) as short_lists
from {candidates}

-- How many of a day's lists are shorter than :k, as a share.
select try_divide(double(count_if(size(candidates) < :k)), count(*)) as short_lists
from {candidates}

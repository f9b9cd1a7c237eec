-- The counts of a day: each item has one row, and its counts do not contradict each other.
select
  count(*) - count(distinct item_id) as `#fail items with more than one row`,
  count_if(clicks > impressions or exposures > impressions) as `#fail items with more clicks or exposures than impressions`,
  count_if(examples > clicks) as `#fail items with more examples than clicks`
from {rows}

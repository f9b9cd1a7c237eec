-- The counts of the window: the sum of {parts}, each with its sign. These are yesterday's sums, the day that enters the
-- window and, with sign -1, the day that leaves it; or all days of the window.
select
  item_id,
  max(item_index) as item_index,
  sum(sign * impressions) as impressions,
  sum(sign * exposures) as exposures,
  sum(sign * clicks) as clicks,
  sum(sign * examples) as examples,
  int(:window_days) as window_days
from {parts}
group by item_id
having sum(sign * impressions) <> 0 or sum(sign * examples) <> 0

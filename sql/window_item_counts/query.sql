-- The window's counts: those of yesterday, plus the day that enters the window, minus the day that leaves it (sign -1).
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

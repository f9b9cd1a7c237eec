-- Items by their clicks in the window, in bins of doubling width: 0, 1, 2 to 3, 4 to 7, ... Bin b > 0 begins at
-- 2 ** (b - 1) clicks. For each bin and slice: the number of items, of their clicks, and of their positions in the
-- candidate lists.
with positions as (
  select entry.item_id, count(*) as positions
  from (select explode(lists.candidates) as entry from {candidates} as lists)
  group by entry.item_id
)

select
  if(items.clicks = 0, 0, length(bin(items.clicks))) as bin,
  items.slice,
  count(*) as items,
  sum(items.clicks) as clicks,
  sum(coalesce(positions.positions, 0)) as positions
from {item_slices} as items
left join positions on positions.item_id = items.item_id
group by bin, items.slice
order by bin

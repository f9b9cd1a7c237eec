-- Items by their clicks in the window, in bins of doubling width: 0, 1, 2 to 3, 4 to 7, ... Bin b > 0 begins at
-- 2 ** (b - 1) clicks. For each bin and slice: the number of items, of their clicks, and of their entries (places) in the
-- candidate lists.
with places as (
  select place.item_id, count(*) as places
  from (select explode(lists.candidates) as place from {candidates} as lists)
  group by place.item_id
)

select
  if(items.clicks = 0, 0, length(bin(items.clicks))) as bin,
  items.slice,
  count(*) as items,
  sum(items.clicks) as clicks,
  sum(coalesce(places.places, 0)) as places
from {item_slices} as items
left join places on places.item_id = items.item_id
group by bin, items.slice
order by bin

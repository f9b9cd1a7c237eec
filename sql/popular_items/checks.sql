-- A segment has an item at most once, and there is a list of segment 0 (all users).
select
  count(*) - count(distinct segment, item_id) as `#fail items that a segment lists twice`,
  if(count_if(segment = 0) = 0, 1, 0) as `#fail segment 0 (all users) has no list`,
  count_if(item_index is null or item_index < 2) as `#fail items without an index`
from {rows}

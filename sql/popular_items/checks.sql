-- A segment holds an item once, and everybody's list is there for whoever has no other.
select
  count(*) - count(distinct segment, item_id) as `#fail items that a segment holds twice`,
  if(count_if(segment = 0) = 0, 1, 0) as `#fail no list for everybody`,
  count_if(item_index is null or item_index < 2) as `#fail items without an index`
from {rows}

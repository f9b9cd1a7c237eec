-- What is clicked most, among the items that are available: for everybody (segment 0), down to items without a click, and
-- for each segment of users, as their feature stood when they clicked. Equal clicks by item_index.
with offered as (
  select item_id, item_index
  from {items}
  where available
),

everybody as (
  select
    0 as segment,
    offered.item_id,
    offered.item_index,
    coalesce(counts.clicks, 0) as clicks
  from offered
  left join {window_item_counts} as counts on counts.item_id = offered.item_id
  order by clicks desc, offered.item_index
  limit :everybody
),

counted as (
  select examples.segment, examples.item_id, count(*) as clicks
  from {examples} as examples
  group by examples.segment, examples.item_id
),

of_segments as (
  select
    counted.segment,
    offered.item_id,
    offered.item_index,
    counted.clicks,
    row_number() over (partition by counted.segment order by counted.clicks desc, offered.item_index) as rank
  from counted
  inner join offered on offered.item_id = counted.item_id
),

listed as (
  select segment, item_id, item_index, clicks from everybody
  union all
  select segment, item_id, item_index, clicks from of_segments where rank <= :of_segment
)

select
  segment,
  item_id,
  item_index,
  clicks,
  coalesce(try_divide(double(clicks), sum(clicks) over (partition by segment)), 0d) as share,
  row_number() over (partition by segment order by clicks desc, item_index) as rank
from listed

-- The available items with the most clicks: of all users (segment 0; may end with items without a click), and of each
-- segment. A click belongs to the segment that its user had in the training example. Ties are broken by item_index.
with eligible as (
  select item_id, item_index
  from {items}
  where available
),

all_users as (
  select
    0 as segment,
    eligible.item_id,
    eligible.item_index,
    coalesce(counts.clicks, 0) as clicks
  from eligible
  left join {window_item_counts} as counts on counts.item_id = eligible.item_id
  order by clicks desc, eligible.item_index
  limit :all_users
),

segment_clicks as (
  select examples.segment, examples.item_id, count(*) as clicks
  from {examples} as examples
  group by examples.segment, examples.item_id
),

segment_items as (
  select
    segment_clicks.segment,
    eligible.item_id,
    eligible.item_index,
    segment_clicks.clicks,
    row_number() over (
      partition by segment_clicks.segment
      order by segment_clicks.clicks desc, eligible.item_index
    ) as rank
  from segment_clicks
  inner join eligible on eligible.item_id = segment_clicks.item_id
),

listed as (
  select segment, item_id, item_index, clicks from all_users
  union all
  select segment, item_id, item_index, clicks from segment_items where rank <= :per_segment
)

select
  segment,
  item_id,
  item_index,
  clicks,
  coalesce(try_divide(double(clicks), sum(clicks) over (partition by segment)), 0d) as share,
  row_number() over (partition by segment order by clicks desc, item_index) as rank
from listed

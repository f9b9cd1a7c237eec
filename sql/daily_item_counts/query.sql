-- For each item of the day: impressions, exposures (examined impressions), clicks, and training examples.
with events as (
  select item_id, 1 as impression, int(examined) as exposure, int(clicked) as click, 0 as example
  from {interactions}
  union all
  select item_id, 0 as impression, 0 as exposure, 0 as click, 1 as example
  from {training_examples}
),

counts as (
  select
    item_id,
    sum(impression) as impressions,
    sum(exposure) as exposures,
    sum(click) as clicks,
    sum(example) as examples
  from events
  group by item_id
)

select
  counts.item_id,
  items.index as item_index,
  counts.impressions,
  counts.exposures,
  counts.clicks,
  counts.examples
from counts
inner join {vocabularies} as items on items.feature = 'item_id' and items.value = counts.item_id

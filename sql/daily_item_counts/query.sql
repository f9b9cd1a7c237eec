-- What a day did with each item: impressions and clicks of its log, and rows that training reads.
select
  coalesce(log.item_id, rows.item_id) as item_id,
  items.index as item_index,
  coalesce(log.impressions, 0) as impressions,
  coalesce(log.clicks, 0) as clicks,
  coalesce(rows.examples, 0) as examples
from (
  select item_id, count(*) as impressions, count_if(clicked) as clicks
  from {interactions}
  group by item_id
) as log
full outer join (
  select item_id, count(*) as examples
  from {training_examples}
  group by item_id
) as rows on rows.item_id = log.item_id
inner join {vocabularies} as items
  on items.feature = 'item_id' and items.value = coalesce(log.item_id, rows.item_id)

-- The items of the day's snapshot that are new: published, or else first seen, fewer than :days days before :day. Items
-- that were known on the first day of the vocabulary, without a time of publication, are of unknown age, so not new.
with first_seen as (
  select value as item_id, ds
  from {vocabularies}
  where feature = 'item_id'
),

first_day as (
  select min(ds) as ds
  from first_seen
)

select items.item_id
from {item_snapshot} as items
inner join first_seen on first_seen.item_id = items.item_id
cross join first_day
where datediff(:day, coalesce(date(items.published_at), nullif(first_seen.ds, first_day.ds))) < :days

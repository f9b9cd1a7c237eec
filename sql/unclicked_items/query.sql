-- Items with at least :min_exposures exposures in the window and no click. An exposure counts only if its attribution
-- window closed before the end of the day, because otherwise a click may still come. At most :max_items items are taken,
-- the most exposed ones; ties are broken by the hash of item_id. Items are numbered bucket by bucket, and buckets within
-- their number of exposures: only the distinct numbers of exposures are in one partition, which are few at any size.
with open as (
  select item_id, count(*) as exposures
  from {interactions}
  where examined and outcome_final_at >= :day_end
  group by item_id
),

exposed as (
  select
    counts.item_id,
    counts.item_index,
    counts.exposures - coalesce(open.exposures, 0) as exposures,
    shiftrightunsigned(xxhash64(counts.item_id), 54) as bucket
  from {window_item_counts} as counts
  left join open on open.item_id = counts.item_id
  where counts.clicks = 0
    and counts.exposures - coalesce(open.exposures, 0) >= :min_exposures
),

buckets as (
  select exposures, bucket, count(*) as size
  from exposed
  group by exposures, bucket
),

levels as (
  select
    exposures,
    sum(size) over (order by exposures desc rows between unbounded preceding and current row) - size as start
  from (select exposures, sum(size) as size from buckets group by exposures)
),

starts as (
  select
    buckets.exposures,
    buckets.bucket,
    levels.start - buckets.size + sum(buckets.size) over (
      partition by buckets.exposures
      order by buckets.bucket
      rows between unbounded preceding and current row
    ) as start
  from buckets
  inner join levels on levels.exposures = buckets.exposures
  where levels.start < :max_items
),

ranked as (
  select
    exposed.*,
    starts.start + row_number() over (
      partition by exposed.exposures, exposed.bucket
      order by xxhash64(exposed.item_id), exposed.item_id
    ) as rank
  from exposed
  inner join starts on starts.exposures = exposed.exposures and starts.bucket = exposed.bucket
)

select item_id, item_index, exposures
from ranked
where rank <= :max_items

-- Each unseen value with the next free index of its feature: 0 is padding, 1 is unknown. Values are numbered bucket by
-- bucket, so that no partition has to sort a whole vocabulary.
with bucket_sizes as (
  select feature, bucket, count(*) as size
  from {unseen}
  group by feature, bucket
),

bucket_starts as (
  select feature, bucket, sum(size) over (partition by feature order by bucket) - size as start
  from bucket_sizes
),

taken as (
  select feature, max(index) as last_index
  from {vocabularies}
  group by feature
)

select
  unseen.feature,
  unseen.value,
  int(
    coalesce(taken.last_index, 1)
    + starts.start
    + row_number() over (partition by unseen.feature, unseen.bucket order by unseen.value)
  ) as index,
  :ds as ds
from {unseen} as unseen
inner join bucket_starts as starts
  on starts.feature = unseen.feature and starts.bucket = unseen.bucket
left join taken on taken.feature = unseen.feature

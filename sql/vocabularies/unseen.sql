-- The distinct values that have no index yet, in buckets that can be numbered in parallel.
select seen.feature, seen.value, pmod(xxhash64(seen.value), 64) as bucket
from (select distinct feature, value from {values} where value is not null) as seen
left anti join {vocabularies} as known
  on known.feature = seen.feature and known.value = seen.value

-- Each user's list of the most clicked available items, without excluded ones. A list needs at most :k items and as many
-- more as the user has exclusions, so a user gets as much of the ranking that all share, rounded up to :k times a power of
-- two: that one user with many exclusions makes only that user's row expensive, and few lengths are made.
with users as (
  select
    clickers.user_id,
    histories.excluded,
    int(:k * power(2, ceil(log2((:k + coalesce(array_size(histories.excluded), 0)) / :k)))) as length
  from (select distinct user_id from {relevant}) as clickers
  left join {user_histories} as histories on histories.user_id = clickers.user_id
),

popular as (
  select
    array_sort(
      collect_list(struct(-clicks as order, item_index, item_id))
    ) as items
  from {popular_items}
),

beginnings as (
  select
    lengths.length,
    slice(popular.items, 1, lengths.length) as items,
    transform(slice(popular.items, 1, lengths.length), item -> item.item_index) as indexes
  from (select distinct length from users) as lengths
  cross join popular
)

-- array_except hashes the exclusions, so that the cost grows linearly with them. array(...)[0] computes the kept items once
-- for each user; else Spark would compute them again for each item of the filter.
select /*+ broadcast(beginnings) */
  users.user_id,
  transform(
    array(slice(array_except(beginnings.indexes, coalesce(users.excluded, cast(array() as array<int>))), 1, :k)),
    kept -> transform(
      filter(beginnings.items, item -> array_contains(kept, item.item_index)),
      item -> item.item_id
    )
  )[0] as item_ids
from users
inner join beginnings on beginnings.length = users.length

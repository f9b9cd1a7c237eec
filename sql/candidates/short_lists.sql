-- The users with less than :k candidates: the length of the list, and the length that was possible, which is the number of
-- available items that are not excluded for the user, at most :k.
with short as (
  select user_id, size(candidates) as length
  from {candidates}
  where size(candidates) < :k
),

available as (
  select item_index
  from {item_snapshot}
  where available
),

excluded as (
  select histories.user_id, count(*) as items
  from (
    select user_id, explode(excluded) as item_index
    from {user_histories}
    left semi join short using (user_id)
  ) as histories
  inner join available on available.item_index = histories.item_index
  group by histories.user_id
)

select
  short.user_id,
  short.length,
  least(:k, total.items - coalesce(excluded.items, 0)) as possible
from short
cross join (select count(*) as items from available) as total
left join excluded on excluded.user_id = short.user_id

-- Each user's list by the oracle of a simulated log, of available items without excluded ones: about the best possible
-- metrics.
with clicked as (
  select exploded.user_id, collect_list(items.item_id) as item_ids
  from (
    select histories.user_id, explode(histories.excluded) as item_index
    from {user_histories} as histories
    left semi join {relevant} as relevant on relevant.user_id = histories.user_id
  ) as exploded
  inner join {item_slices} as items on items.item_index = exploded.item_index
  group by exploded.user_id
),

named as (
  select oracle.user_id, posexplode(oracle.item_ids) as (position, item_id)
  from {oracle} as oracle
  left semi join {relevant} as relevant on relevant.user_id = oracle.user_id
),

available as (
  select
    named.user_id,
    transform(array_sort(collect_list(struct(named.position, named.item_id))), entry -> entry.item_id) as item_ids
  from named
  left semi join (select item_id from {items} where available) as items on items.item_id = named.item_id
  group by named.user_id
)

select
  available.user_id,
  slice(array_except(available.item_ids, coalesce(clicked.item_ids, cast(array() as array<string>))), 1, :k) as item_ids
from available
left join clicked on clicked.user_id = available.user_id

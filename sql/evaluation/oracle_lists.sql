-- Each user's list by the oracle of a simulated log, without excluded items: about the best possible metrics.
with clicked as (
  select exploded.user_id, collect_list(items.item_id) as item_ids
  from (
    select histories.user_id, explode(histories.excluded) as item_index
    from {user_histories} as histories
    left semi join {relevant} as relevant on relevant.user_id = histories.user_id
  ) as exploded
  inner join {item_slices} as items on items.item_index = exploded.item_index
  group by exploded.user_id
)

select
  oracle.user_id,
  slice(array_except(oracle.item_ids, coalesce(clicked.item_ids, cast(array() as array<string>))), 1, :k) as item_ids
from {oracle} as oracle
left semi join {relevant} as relevant on relevant.user_id = oracle.user_id
left join clicked on clicked.user_id = oracle.user_id

-- Every user's clicks up to the end of the day: the last ones in order, and all distinct ones.
with todays as (
  select
    clicks.user_id,
    transform(
      array_sort(collect_list(struct(clicks.clicked_at, items.index, clicks.impression_id))),
      click -> click.index
    ) as item_indices
  from {interactions} as clicks
  inner join {vocabularies} as items on items.feature = 'item_id' and items.value = clicks.item_id
  where clicks.clicked
  group by clicks.user_id
)

select
  coalesce(todays.user_id, before.user_id) as user_id,
  concat(
    coalesce(before.history, cast(array() as array<int>)),
    coalesce(todays.item_indices, cast(array() as array<int>))
  ) as all_clicks,
  array_union(
    coalesce(before.clicked_item_indices, cast(array() as array<int>)),
    coalesce(todays.item_indices, cast(array() as array<int>))
  ) as clicked_item_indices
from todays
full outer join {before} as before on before.user_id = todays.user_id

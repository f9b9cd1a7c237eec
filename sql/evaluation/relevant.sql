-- The items that each user clicked in the evaluated days and that were not excluded for the user before: one row for
-- each user and item.
select distinct
  clicks.user_id,
  clicks.item_id,
  coalesce(items.slice, 'tail') as item_slice,
  histories.user_id is null as is_cold
from {interactions} as clicks
left join {item_slices} as items on items.item_id = clicks.item_id
left join {user_histories} as histories on histories.user_id = clicks.user_id
where clicks.clicked
  and not coalesce(array_contains(histories.excluded, items.item_index), false)

-- One row per user and item: the items that a user clicked on the evaluated days, without those that were excluded for
-- the user before. is_known: the item was in the window's catalogue. never_clicked: it was, and nobody clicked it.
select distinct
  clicks.user_id,
  clicks.item_id,
  coalesce(items.slice, 'tail') as item_slice,
  items.item_id is not null as is_known,
  coalesce(items.clicks = 0, false) as never_clicked,
  histories.user_id is null as is_cold
from {interactions} as clicks
left join {item_slices} as items on items.item_id = clicks.item_id
left join {user_histories} as histories on histories.user_id = clicks.user_id
where clicks.clicked
  and not coalesce(array_contains(histories.excluded, items.item_index), false)

-- One row per user and item: the items that a user clicked on the evaluated days, without those that were excluded for
-- the user before. is_known: the item was in the window's catalogue. never_clicked: it was, and nobody clicked it.
--
-- array_except hashes a user's exclusions once: to look for each click in them would take clicks times exclusions. Only
-- numbers are hashed, so the known items go through it by index, and the others by id past it.
with clicked as (
  select
    clicks.user_id,
    collect_set(items.item_index) as known,
    collect_set(if(items.item_index is null, struct(clicks.item_id), null)) as unknown
  from {interactions} as clicks
  left join {item_slices} as items on items.item_id = clicks.item_id
  where clicks.clicked
  group by clicks.user_id
),

relevant as (
  select
    clicked.user_id,
    histories.user_id is null as is_cold,
    inline(concat(
      transform(
        array_except(clicked.known, coalesce(histories.excluded, cast(array() as array<int>))),
        item_index -> struct(item_index, cast(null as string) as item_id)
      ),
      transform(clicked.unknown, item -> struct(cast(null as int) as item_index, item.item_id))
    )) as (item_index, item_id)
  from clicked
  left join {user_histories} as histories on histories.user_id = clicked.user_id
)

select
  relevant.user_id,
  coalesce(items.item_id, relevant.item_id) as item_id,
  coalesce(items.slice, 'tail') as item_slice,
  items.item_id is not null as is_known,
  coalesce(items.clicks = 0, false) as never_clicked,
  relevant.is_cold
from relevant
left join {item_slices} as items on items.item_index = relevant.item_index

-- Each user's list of the most clicked available items, without excluded ones. The ranking that all users share has :k
-- items more than the largest number of exclusions, so every list has :k items if the catalogue is large enough. Of it a
-- user's own number of exclusions and :k are looked at, so that one user with many makes only that user's row expensive.
with popular as (
  select array_sort(
    collect_list(struct(-clicks as order, item_index, item_id))
  ) as items
  from {popular_items}
)

select
  users.user_id,
  slice(
    transform(
      filter(
        slice(popular.items, 1, :k + coalesce(array_size(histories.excluded), 0)),
        item -> not coalesce(array_contains(histories.excluded, item.item_index), false)
      ),
      item -> item.item_id
    ),
    1,
    :k
  ) as item_ids
from (select distinct user_id from {relevant}) as users
left join {user_histories} as histories on histories.user_id = users.user_id
cross join popular

-- Each user's list of the most clicked available items, without excluded ones. The ranking that all users share has :k
-- items more than the largest number of exclusions, so every list has :k items if the catalogue is large enough.
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
        popular.items,
        item -> not array_contains(coalesce(histories.excluded, cast(array() as array<int>)), item.item_index)
      ),
      item -> item.item_id
    ),
    1,
    :k
  ) as item_ids
from (select distinct user_id from {relevant}) as users
left join {user_histories} as histories on histories.user_id = users.user_id
cross join popular

-- Of the items of a slice that users clicked on the evaluated days, the share that is in a list of any of these users:
-- of all items, of those without a click in the window, and of new items. `lists` has the lists of these users only.
-- Items that were not known on the day of the lists are left out: no list can have them.
with shown as (
  select distinct explode(item_ids) as item_id
  from {lists}
),

clicked as (
  select
    item_id,
    explode(array_compact(array('all', if(never_clicked, 'never_clicked', null), if(is_new, 'new_items', null)))) as slice,
    user_id
  from {relevant}
  where is_known
),

by_item as (
  select clicked.slice, clicked.item_id, shown.item_id is not null as is_shown
  from (select distinct slice, item_id from clicked) as clicked
  left join shown on shown.item_id = clicked.item_id
),

coverage as (
  select slice, try_divide(double(count_if(is_shown)), count(*)) as value
  from by_item
  group by slice
),

users as (
  select slice, count(distinct user_id) as users
  from clicked
  group by slice
)

select coverage.slice, 'clicked_item_coverage' as metric, int(:k) as k, coverage.value, users.users
from coverage
inner join users on users.slice = coverage.slice

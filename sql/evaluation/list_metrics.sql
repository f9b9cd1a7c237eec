-- What the lists are made of: the share of the available items that anybody is shown, and the shares of the places
-- that go to items of each slice and to items that nobody clicked in the window.
with places as (
  select lists.user_id, place.item_id
  from {lists} as lists
  lateral view explode(lists.item_ids) place as item_id
),

shares as (
  select
    count(distinct places.item_id) as shown_items,
    count(distinct places.user_id) as users,
    count(*) as places,
    count_if(items.slice = 'head') as head,
    count_if(items.slice = 'middle') as middle,
    count_if(items.slice = 'tail') as tail,
    count_if(coalesce(items.clicks, 0) = 0) as never_clicked
  from places
  left join {item_slices} as items on items.item_id = places.item_id
),

catalogue as (
  select count(*) as items
  from {item_snapshot}
  where available
)

select
  part.slice,
  part.metric,
  int(:k) as k,
  part.value,
  shares.users
from shares
cross join catalogue
lateral view inline(array(
  struct('all' as slice, 'item_coverage' as metric, try_divide(double(shown_items), catalogue.items) as value),
  struct('all' as slice, 'never_clicked_share' as metric, try_divide(double(never_clicked), places) as value),
  struct('head' as slice, 'list_share' as metric, try_divide(double(head), places) as value),
  struct('middle' as slice, 'list_share' as metric, try_divide(double(middle), places) as value),
  struct('tail' as slice, 'list_share' as metric, try_divide(double(tail), places) as value)
)) part as slice, metric, value
where part.value is not null

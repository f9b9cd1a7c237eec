-- Metrics that need only the lists: the share of the available items that are in any list, and the share of the list
-- entries that are items of each slice, or items without a click in the window.
with entries as (
  select lists.user_id, entry.item_id
  from {lists} as lists
  lateral view explode(lists.item_ids) entry as item_id
),

shares as (
  select
    count(distinct entries.item_id) as shown_items,
    count(distinct entries.user_id) as users,
    count(*) as entries,
    count_if(items.slice = 'head') as head,
    count_if(items.slice = 'middle') as middle,
    count_if(items.slice = 'tail') as tail,
    count_if(coalesce(items.clicks, 0) = 0) as never_clicked
  from entries
  left join {item_slices} as items on items.item_id = entries.item_id
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
  struct('all' as slice, 'never_clicked_share' as metric, try_divide(double(never_clicked), entries) as value),
  struct('head' as slice, 'list_share' as metric, try_divide(double(head), entries) as value),
  struct('middle' as slice, 'list_share' as metric, try_divide(double(middle), entries) as value),
  struct('tail' as slice, 'list_share' as metric, try_divide(double(tail), entries) as value)
)) part as slice, metric, value
where part.value is not null

-- Metrics that need only the lists: the share of the available items that are in any list, and the share of the list
-- entries that are items of each slice, or items without a click in the window. Entries are counted by item before
-- anything is joined, so that what is shuffled and joined grows with the catalogue, not with the users.
with shown as (
  select
    entry.item_id,
    count(*) as entries
  from {lists} as lists
  lateral view explode(lists.item_ids) entry as item_id
  group by entry.item_id
),

available as (
  select item_id
  from {item_snapshot}
  where available
),

shares as (
  select
    count(available.item_id) as shown_items,
    sum(shown.entries) as entries,
    sum(if(items.slice = 'head', shown.entries, 0)) as head,
    sum(if(items.slice = 'middle', shown.entries, 0)) as middle,
    sum(if(items.slice = 'tail', shown.entries, 0)) as tail,
    sum(if(coalesce(items.clicks, 0) = 0, shown.entries, 0)) as never_clicked
  from shown
  left join {item_slices} as items on items.item_id = shown.item_id
  left join available on available.item_id = shown.item_id
),

listed as (
  select count_if(size(item_ids) > 0) as users
  from {lists}
),

catalogue as (
  select count(*) as items
  from available
)

select
  part.slice,
  part.metric,
  int(:k) as k,
  part.value,
  listed.users
from shares
cross join listed
cross join catalogue
lateral view inline(array(
  struct('all' as slice, 'item_coverage' as metric, try_divide(double(shown_items), catalogue.items) as value),
  struct('all' as slice, 'never_clicked_share' as metric, try_divide(double(never_clicked), entries) as value),
  struct('head' as slice, 'list_share' as metric, try_divide(double(head), entries) as value),
  struct('middle' as slice, 'list_share' as metric, try_divide(double(middle), entries) as value),
  struct('tail' as slice, 'list_share' as metric, try_divide(double(tail), entries) as value)
)) part as slice, metric, value
where part.value is not null

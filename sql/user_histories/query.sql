-- Every user's clicks up to the end of the day: the last :length of them in order, and for each day the items that the
-- exclusion rule still needs. Of one day, too, at most the last :length clicks enter the history. Users who are no longer
-- in the snapshot are removed. clicked_minutes has the minute of each click of the history, since 1970-01-01; null if the
-- click was added without its time. Clicks up to the day :merged_until are not kept by day any more: their distinct items are
-- one element, dated by the last of their days, of which the :max_merged ones that were clicked last are kept.
with clicks as (
  select
    interactions.user_id,
    interactions.clicked_at,
    interactions.impression_id,
    items.index as item_index,
    int(unix_seconds(interactions.clicked_at) div 60) as clicked_minute
  from {interactions} as interactions
  inner join {vocabularies} as items on items.feature = 'item_id' and items.value = interactions.item_id
  where interactions.clicked
),

backwards as (
  select
    *,
    row_number() over (
      partition by user_id
      order by clicked_at desc, item_index desc, impression_id desc
    ) as number
  from clicks
),

last_clicks as (
  select
    user_id,
    transform(array_sort(collect_list(struct(-number as order, item_index))), click -> click.item_index) as item_indices,
    transform(
      array_sort(collect_list(struct(-number as order, clicked_minute))), click -> click.clicked_minute
    ) as clicked_minutes
  from backwards
  where number <= :length
  group by user_id
),

items_of_day as (
  select user_id, array_sort(collect_list(item_index)) as item_indices
  from (select distinct user_id, item_index from clicks)
  group by user_id
),

todays as (
  select items_of_day.user_id, items_of_day.item_indices, last_clicks.item_indices as last_clicks, last_clicks.clicked_minutes
  from items_of_day
  left join last_clicks on last_clicks.user_id = items_of_day.user_id
),

merged as (
  select
    coalesce(todays.user_id, before.user_id) as user_id,
    concat(
      coalesce(before.history, cast(array() as array<int>)),
      coalesce(todays.last_clicks, cast(array() as array<int>))
    ) as history,
    concat(
      coalesce(before.clicked_minutes, transform(coalesce(before.history, array()), item_index -> cast(null as int))),
      coalesce(todays.clicked_minutes, cast(array() as array<int>))
    ) as clicked_minutes,
    concat(
      coalesce(before.clicked, cast(array() as array<struct<ds: date, item_indices: array<int>>>)),
      if(todays.user_id is null, array(), array(struct(:ds as ds, todays.item_indices as item_indices)))
    ) as clicked
  from todays
  full outer join {before} as before on before.user_id = todays.user_id
),

excluded as (
  select
    user_id,
    history,
    clicked_minutes,
    filter(clicked, day -> day.ds >= :excluded_since and day.ds <= :merged_until) as old,
    filter(clicked, day -> day.ds >= :excluded_since and day.ds > :merged_until) as by_day
  from merged
),

distinct_items as (
  select
    *,
    reverse(slice(array_distinct(reverse(flatten(transform(old, day -> day.item_indices)))), 1, :max_merged)) as old_items
  from excluded
)

select
  kept.user_id,
  slice(history, greatest(size(history) - :length, 0) + 1, :length) as history,
  slice(clicked_minutes, greatest(size(clicked_minutes) - :length, 0) + 1, :length) as clicked_minutes,
  if(
    size(old) = 0,
    by_day,
    concat(array(struct(array_max(transform(old, day -> day.ds)) as ds, old_items as item_indices)), by_day)
  ) as clicked
from distinct_items as kept
left semi join {user_snapshot} as users on users.user_id = kept.user_id

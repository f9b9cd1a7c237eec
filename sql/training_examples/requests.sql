-- For each click of the day: the items of its request that the user examined and did not click, and the UTC epoch second
-- (rounded up) at which the attribution window of the request's last impression closes.
-- At most :unclicked items are taken, the nearest to the clicked position first: at equal distance the position above comes
-- first, then the smaller item_index; impressions without a position come last. A click without a position counts as above
-- all positions. An item that was shown several times counts at its nearest position; an item that was clicked under any of
-- its impressions is not unclicked.
with shown as (
  select
    *,
    -- an impression without a request_id is a request by itself
    coalesce(request_id, '') = '' as is_alone,
    if(coalesce(request_id, '') = '', impression_id, request_id) as id
  from {interactions}
),

-- A request is known by two hashes, of 128 bits together, which are compared and shuffled faster than its ids.
hashed as (
  select
    if(clicked, impression_id, null) as impression_id,
    item_id,
    coalesce(bigint(position), if(clicked, -2147483649, null)) as position,
    clicked,
    examined,
    outcome_final_at,
    xxhash64(is_alone, id, user_id) as request,
    xxhash64('again', is_alone, id, user_id) as request_again
  from shown
),

-- all impressions of a request with a click, in one partition
gathered as (
  select hashed.*, items.index as item_index
  from hashed
  left semi join (select request from hashed where clicked) as clicked on clicked.request = hashed.request
  left join {vocabularies} as items on items.feature = 'item_id' and items.value = hashed.item_id
  distribute by hashed.request
),

-- the request's clicks and examined items from top to bottom; an item at the position of a click comes after it
examined as (
  select
    max(outcome_final_at) as outcome_final_at,
    sort_array(collect_list(
      if(item_index is not null and (clicked or examined), struct(
        position is null as has_no_position, position, not clicked as is_unclicked, item_index, impression_id
      ), null)
    )) as events
  from gathered
  group by request, request_again
  having bool_or(clicked)
),

repeated as (
  select
    *,
    array_intersect(
      transform(filter(events, event -> event.is_unclicked), event -> event.item_index),
      transform(filter(events, event -> not event.is_unclicked), event -> event.item_index)
    ) as also_clicked
  from examined
),

requests as (
  select
    ceil(unix_micros(outcome_final_at) / 1000000) as outcome_final_at,
    if(
      size(also_clicked) = 0,
      events,
      filter(events, event -> not (event.is_unclicked and array_contains(also_clicked, event.item_index)))
    ) as events
  from repeated
),

-- also upwards, the smaller item_index of a position comes first
directed as (
  select
    outcome_final_at,
    filter(
      transform(events, (event, number) -> struct(event.impression_id, event.position, number as events_before)),
      event -> event.impression_id is not null
    ) as clicks,
    transform(filter(events, event -> event.is_unclicked), event -> struct(event.position, event.item_index)) as down,
    sort_array(transform(filter(events, event -> event.is_unclicked), event -> struct(
      not event.has_no_position, -event.position as height, event.item_index
    ))) as up
  from requests
),

-- The nearest items are among the :unclicked next ones on either side, so that the cost of a click does not depend on
-- the length of its request. An item that is shown several times counts several times here: if more often than :unclicked,
-- a list may be shorter, or reach farther on the other side, than the whole request would give.
neighbours as (
  select outcome_final_at, inline(transform(clicks, (click, number) -> struct(
    click.impression_id,
    click.position,
    slice(down, click.events_before - number + 1, :unclicked) as below,
    slice(up, size(up) - (click.events_before - number) + 1, :unclicked) as above
  )))
  from directed
)

select
  impression_id,
  slice(array_distinct(sort_array(concat(
    transform(above, other -> struct(
      false as has_no_position, position + other.height as distance, false as is_below, other.item_index
    )),
    transform(below, other -> struct(
      other.position is null as has_no_position, other.position - position as distance,
      other.position > position as is_below, other.item_index
    ))
  )).item_index), 1, :unclicked) as unclicked,
  outcome_final_at
from neighbours

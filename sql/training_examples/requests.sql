-- For each click of the day, what became of its request: the items that the user examined in it and that stay unclicked,
-- and the UTC epoch second (rounded up) at which the attribution window of its last impression closes.
-- Of more than :unclicked items those are kept whose places are nearest to the clicked one: at equal distance the place
-- above first, then the smaller item_index; impressions without a position come last. A click without a position counts
-- as above all places. An item shown several times stands where it is nearest; one that was clicked under any of its
-- impressions is not unclicked.
with impressions as (
  select
    shown.impression_id,
    shown.request_id,
    -- an impression that names no request is a request of its own
    if(shown.request_id <> '', null, shown.impression_id) as alone,
    shown.user_id,
    shown.item_id,
    items.index as item_index,
    coalesce(bigint(shown.position), if(shown.clicked, -2147483649, null)) as place,
    shown.clicked,
    shown.examined,
    shown.outcome_final_at
  from {interactions} as shown
  left join {vocabularies} as items on items.feature = 'item_id' and items.value = shown.item_id
),

-- all of a request in one place, by a number that sorts faster than the ids
gathered as (
  select *
  from (select *, xxhash64(request_id, alone, user_id) as request from impressions)
  distribute by request
),

marked as (
  select
    *,
    bool_or(clicked) over (partition by request, item_index, request_id, alone, user_id, item_id) as item_is_clicked
  from gathered
),

-- its clicks and what was left beside them, downwards; what was left in the very place of a click comes below it
requests as (
  select
    ceil(unix_micros(max(outcome_final_at)) / 1000000) as outcome_final_at,
    sort_array(collect_list(
      if(item_index is not null and (clicked or examined and not item_is_clicked), struct(
        place is null as is_nowhere, place, not clicked as is_left, item_index, if(clicked, impression_id, null) as impression_id
      ), null)
    )) as events
  from marked
  group by request, request_id, alone, user_id
  having bool_or(clicked)
),

-- up the request the smaller item_index of a place comes first as well
directed as (
  select
    outcome_final_at,
    filter(
      transform(events, (event, number) -> struct(event.impression_id, event.place, number as events_before)),
      event -> event.impression_id is not null
    ) as clicks,
    transform(filter(events, event -> event.is_left), event -> struct(event.place, event.item_index)) as down,
    sort_array(transform(filter(events, event -> event.is_left), event -> struct(
      not event.is_nowhere, -event.place as height, event.item_index
    ))) as up
  from requests
),

-- The nearest ones are among as many on either side: a click costs the length of its list, however long its request is.
-- An item that repeats takes several of these ranks: where it does so more often than lists are long, a list may be
-- shorter, or reach farther on the other side, than the whole request would give.
seen as (
  select outcome_final_at, inline(transform(clicks, (click, number) -> struct(
    click.impression_id,
    click.place,
    slice(down, click.events_before - number + 1, :unclicked) as below,
    slice(up, size(up) - (click.events_before - number) + 1, :unclicked) as above
  )))
  from directed
)

select
  impression_id,
  slice(array_distinct(sort_array(concat(
    transform(above, other -> struct(
      false as is_nowhere, place + other.height as distance, false as is_below, other.item_index
    )),
    transform(below, other -> struct(
      other.place is null as is_nowhere, other.place - place as distance, other.place > place as is_below, other.item_index
    ))
  )).item_index), 1, :unclicked) as unclicked,
  outcome_final_at
from seen

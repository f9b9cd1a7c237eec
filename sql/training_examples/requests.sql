-- For each click of the day, what became of its request: the items that the user examined in it and that stay unclicked,
-- and the UTC epoch second (rounded up) at which the attribution window of its last impression closes.
-- Of more than :unclicked items those are kept whose places are nearest to the clicked one: at equal distance the place
-- above first, then the smaller item_index; impressions without a position come last. A click without a position counts
-- as above all places. An item shown several times stands where it is nearest; one that was clicked under any of its
-- impressions is not unclicked.
with impressions as (
  select
    *,
    coalesce(bigint(position), if(clicked, -2147483649, null)) as place,
    -- an impression that names no request is a request of its own
    if(request_id <> '', null, impression_id) as alone
  from {interactions}
),

-- most requests end without a click, and are not looked at further
answered as (
  select distinct request_id, alone, user_id
  from impressions
  where clicked
),

requests as (
  select
    impressions.*,
    max(outcome_final_at) over (partition by impressions.request_id, impressions.alone, impressions.user_id)
      as last_final_at,
    bool_or(clicked) over (
      partition by impressions.request_id, impressions.alone, impressions.user_id, impressions.item_id
    ) as item_is_clicked
  from impressions
  left semi join answered
    on answered.request_id <=> impressions.request_id
    and answered.alone <=> impressions.alone
    and answered.user_id = impressions.user_id
),

-- the clicks, and what was left beside them
events as (
  select requests.*, items.index as item_index
  from requests
  inner join {vocabularies} as items on items.feature = 'item_id' and items.value = requests.item_id
  where requests.clicked or requests.examined and not requests.item_is_clicked
),

-- How many unclicked impressions lie at or before an event, down the request and up it again; those in the very place
-- of a click come below it. In both directions the smaller item_index of a place comes first.
counted as (
  select
    *,
    sum(int(not clicked)) over (
      partition by request_id, alone, user_id
      order by place asc nulls last, clicked desc, item_index
      rows between unbounded preceding and current row
    ) as left_down,
    sum(int(not clicked)) over (
      partition by request_id, alone, user_id
      order by place desc nulls first, clicked asc, item_index
      rows between unbounded preceding and current row
    ) as left_up
  from events
),

-- The nearest ones are among as many on either side. A range of the count holds no more, however many impressions the
-- request has and however many of them are clicked: a request costs its own length times the range, never its square.
-- Only clicks keep what they see. An item that repeats takes several of these ranks: where it does so more often than
-- lists are long, a list may be shorter, or reach farther on the other side, than the whole request would give.
seen as (
  select
    *,
    if(clicked, collect_list(if(clicked, null, struct(place, item_index))) over (
      partition by request_id, alone, user_id
      order by left_down
      range between current row and :unclicked following
    ), null) as below,
    if(clicked, collect_list(if(clicked, null, struct(place, item_index))) over (
      partition by request_id, alone, user_id
      order by left_up
      range between current row and :unclicked following
    ), null) as above
  from counted
),

nearest_first as (
  select
    impression_id,
    last_final_at,
    array_sort(transform(concat(above, below), other -> struct(
      other.place is null as is_nowhere,
      abs(other.place - seen.place) as distance,
      other.place > seen.place as is_below,
      other.item_index
    ))) as others
  from seen
  where clicked
)

select
  impression_id,
  slice(array_distinct(others.item_index), 1, :unclicked) as unclicked,
  ceil(unix_micros(last_final_at) / 1000000) as outcome_final_at
from nearest_first

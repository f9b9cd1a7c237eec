-- Items in three slices by popularity. head: the most clicked items, which together have :head_share of the window's
-- clicks; middle: the next :middle_share; tail: all others, items without a click included. Items with the same number of
-- clicks are in the same slice, so that only the distinct numbers have to be ordered.
with by_count as (
  select clicks, clicks * count(*) as clicks_of_items
  from {item_sampling_probs}
  group by clicks
),

before as (
  select
    clicks,
    try_divide(
      sum(clicks_of_items) over (order by clicks desc rows between unbounded preceding and current row) - clicks_of_items,
      sum(clicks_of_items) over ()
    ) as share_before
  from by_count
)

select
  items.item_id,
  items.item_index,
  items.clicks,
  case
    when items.clicks = 0 then 'tail'
    when before.share_before < :head_share then 'head'
    when before.share_before < :head_share + :middle_share then 'middle'
    else 'tail'
  end as slice
from {item_sampling_probs} as items
inner join before on before.clicks = items.clicks

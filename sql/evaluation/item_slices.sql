-- head: the most clicked items that together hold :head_share of the window's clicks; middle: the next ones, up to
-- :middle_share more; tail: all others, never clicked ones included. Items with equally many clicks share a slice, so
-- that the items need no ranking, only the few distinct counts do.
with by_count as (
  select clicks, clicks * count(*) as clicks_held
  from {item_sampling_probs}
  group by clicks
),

before as (
  select
    clicks,
    try_divide(
      sum(clicks_held) over (order by clicks desc rows between unbounded preceding and current row) - clicks_held,
      sum(clicks_held) over ()
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

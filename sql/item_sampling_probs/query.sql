-- q: an item's share of exactly the rows that are trained on. u: its share of draws from the whole catalogue, no item
-- at 0. p: its share of the exposures inside the unclicked pool, 0 outside.
with counts as (
  select item_id, sum(clicks) as clicks, sum(examples) as examples
  from {daily_item_counts}
  group by item_id
),

weights as (
  select
    items.item_id,
    items.item_index,
    cast(coalesce(counts.clicks, 0) as bigint) as clicks,
    coalesce(counts.examples, 0) as examples,
    power(coalesce(counts.clicks, 0) + 1, :corpus_alpha) as corpus_weight,
    coalesce(pool.exposures, 0) as exposures
  from {item_snapshot} as items
  left join counts on counts.item_id = items.item_id
  left join {unclicked_items} as pool on pool.item_id = items.item_id
),

totals as (
  select sum(examples) as examples, sum(corpus_weight) as corpus_weight, sum(exposures) as exposures
  from weights
)

select
  weights.item_id,
  weights.item_index,
  weights.clicks,
  coalesce(try_divide(cast(weights.examples as double), cast(totals.examples as double)), 0d) as q,
  weights.corpus_weight / totals.corpus_weight as u,
  coalesce(try_divide(cast(weights.exposures as double), cast(totals.exposures as double)), 0d) as p
from weights
cross join totals

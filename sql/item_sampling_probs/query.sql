-- q: an item's share of the training examples of the window; q_before: of the window without its last day; q_last: of the
-- last day alone, which validation holds out. u: its probability as a corpus negative, never 0. p: its share of the
-- exposures in the unclicked pool, 0 outside the pool.
with weights as (
  select
    items.item_id,
    items.item_index,
    cast(coalesce(counts.clicks, 0) as bigint) as clicks,
    coalesce(counts.examples, 0) as examples,
    coalesce(last_day.examples, 0) as last_examples,
    power(coalesce(counts.clicks, 0) + 1, :corpus_alpha) as corpus_weight,
    coalesce(pool.exposures, 0) as exposures
  from {item_snapshot} as items
  left join {window_item_counts} as counts on counts.item_id = items.item_id
  left join {daily_item_counts} as last_day on last_day.item_id = items.item_id
  left join {unclicked_items} as pool on pool.item_id = items.item_id
),

totals as (
  select
    double(sum(examples)) as examples,
    double(sum(last_examples)) as last_examples,
    sum(corpus_weight) as corpus_weight,
    double(sum(exposures)) as exposures
  from weights
)

select
  weights.item_id,
  weights.item_index,
  weights.clicks,
  coalesce(try_divide(weights.examples, totals.examples), 0d) as q,
  coalesce(try_divide(weights.examples - weights.last_examples, totals.examples - totals.last_examples), 0d) as q_before,
  coalesce(try_divide(weights.last_examples, totals.last_examples), 0d) as q_last,
  weights.corpus_weight / totals.corpus_weight as u,
  coalesce(try_divide(weights.exposures, totals.exposures), 0d) as p
from weights
cross join totals

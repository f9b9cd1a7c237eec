-- The number of items, and the first of them, of which q, q_before or q_last differs from the share of the training
-- examples: of the window, of the window without its last day, or of the last day.
with counted as (
  select
    item_index,
    double(count(*)) as n,
    double(count_if(ds < :ds)) as n_before,
    double(count_if(ds = :ds)) as n_last
  from {examples}
  group by item_index
),

totals as (
  select sum(n) as n, sum(n_before) as n_before, sum(n_last) as n_last
  from counted
),

compared as (
  select
    coalesce(probs.item_index, counted.item_index) as item_index,
    greatest(
      abs(coalesce(probs.q, 0) - coalesce(try_divide(counted.n, totals.n), 0)),
      abs(coalesce(probs.q_before, 0) - coalesce(try_divide(counted.n_before, totals.n_before), 0)),
      abs(coalesce(probs.q_last, 0) - coalesce(try_divide(counted.n_last, totals.n_last), 0))
    ) as difference
  from {item_sampling_probs} as probs
  full join counted on counted.item_index = probs.item_index
  cross join totals
)

select count(*) as items, min(item_index) as first
from compared
where not difference <= 1e-9

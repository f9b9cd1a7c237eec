-- Probabilities are in [0, 1] and sum to 1, or to 0 if there was nothing to count.
select
  count(*) - count(distinct item_index) as `#fail items with more than one row`,
  count_if(not least(q, q_before, q_last, u, p) >= 0 or not greatest(q, q_before, q_last, u, p) <= 1)
    as `#fail items with a probability outside [0, 1]`,
  count_if(u = 0) as `#fail items that are never drawn as corpus negatives`,
  int(abs(sum(u) - 1) > 1e-9) as `#fail u does not sum to 1`,
  int(least(abs(sum(q) - 1), sum(q)) > 1e-9) as `#fail q sums to neither 1 nor 0`,
  int(least(abs(sum(q_before) - 1), sum(q_before)) > 1e-9) as `#fail q_before sums to neither 1 nor 0`,
  int(least(abs(sum(q_last) - 1), sum(q_last)) > 1e-9) as `#fail q_last sums to neither 1 nor 0`,
  int(least(abs(sum(p) - 1), sum(p)) > 1e-9) as `#fail p sums to neither 1 nor 0`,
  int(sum(q) = 0) as `#warn no item has an example`
from {rows}

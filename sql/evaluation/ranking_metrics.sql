-- Recall, NDCG, HitRate and MRR at each k of :at, as means over the users with a relevant item; a user without a list
-- counts as 0. A click is in the slices of its item and of its user. NDCG: binary relevance, log2 discount, ideal DCG over
-- min(k, relevant items). Each mean has its 95 % interval, from the variance over the users: that of Wilson (1927), who has it
-- for shares, with as many trials as a share of this variance would have. Of a single user there is none.
with ranks as (
  select
    relevant.user_id,
    explode(
      array_compact(array(
        'all',
        relevant.item_slice,
        if(relevant.never_clicked, 'never_clicked', null),
        if(relevant.is_new, 'new_items', null),
        if(relevant.is_cold, 'cold_users', 'warm_users')
      ))
    ) as slice,
    coalesce(array_position(lists.item_ids, relevant.item_id), 0) as rank
  from {relevant} as relevant
  left join {lists} as lists on lists.user_id = relevant.user_id
),

at_k as (
  select ranks.*, cutoffs.k
  from ranks
  lateral view explode(:at) cutoffs as k
),

per_user as (
  select
    slice,
    k,
    user_id,
    count(*) as relevant,
    count_if(rank between 1 and k) as hits,
    sum(if(rank between 1 and k, 1 / log2(rank + 1), 0)) as dcg,
    max(if(rank between 1 and k, 1 / rank, 0)) as reciprocal_rank
  from at_k
  group by slice, k, user_id
),

scored as (
  select
    slice,
    k,
    hits / relevant as recall,
    dcg / aggregate(sequence(1, least(k, int(relevant))), 0d, (sum, rank) -> sum + 1 / log2(rank + 1)) as ndcg,
    double(hits > 0) as hit_rate,
    reciprocal_rank as mrr
  from per_user
),

means as (
  select
    slice,
    metric.metric,
    int(k) as k,
    avg(metric.value) as value,
    var_samp(metric.value) as variance,
    count(*) as users
  from scored
  lateral view inline(array(
    struct('recall' as metric, recall as value),
    struct('ndcg' as metric, ndcg as value),
    struct('hit_rate' as metric, hit_rate as value),
    struct('mrr' as metric, double(mrr) as value)
  )) metric as metric, value
  group by slice, metric.metric, k
),

-- users who all have the same value, such as 0, are as many trials; rounding leaves a little variance
spreads as (
  select
    *,
    power(:z, 2) / if(variance > 1e-12, users * value * (1 - value) / variance, if(users > 1, users, null)) as spread
  from means
),

ends as (
  select
    *,
    (value + spread / 2) / (1 + spread) as middle,
    sqrt(greatest(value * (1 - value), 0) * spread + power(spread, 2) / 4) / (1 + spread) as half
  from spreads
)

select
  slice,
  metric,
  k,
  value,
  users,
  if(middle is null, null, greatest(middle - half, 0)) as interval_low,
  if(middle is null, null, least(middle + half, 1)) as interval_high
from ends

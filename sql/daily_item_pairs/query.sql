-- Pairs of items that one user clicked soon after each other: each click of the day with each of the user's last :span
-- clicks before it, other than on the same item. Of a user, only the last :clicks_per_user clicks of the day are paired.
-- Each pair of a user with n of them counts 1 / log2(1 + n), in whole millionths, so that sums are exact in any order.
with numbered as (
  select
    user_id,
    item_index,
    filter(history, index -> index > 0) as clicks,
    row_number() over (partition by user_id order by impressed_at desc, impression_id desc) as number
  from {training_examples}
),

paired as (
  select
    user_id,
    item_index,
    array_except(slice(clicks, greatest(size(clicks) - :span, 0) + 1, :span), array(item_index)) as others
  from numbered
  where number <= :clicks_per_user
),

weighted as (
  select
    item_index,
    others,
    bigint(round(1000000 / log2(1 + count(*) over (partition by user_id)))) as weight
  from paired
),

pairs as (
  select
    least(weighted.item_index, pair.other) as item_index,
    greatest(weighted.item_index, pair.other) as other_index,
    weighted.weight
  from weighted
  lateral view explode(weighted.others) pair as other
)

select item_index, other_index, sum(weight) as weight
from pairs
group by item_index, other_index

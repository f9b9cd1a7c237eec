-- The :per_item most similar items of each item, of those that may be shown: the cosine of two rows' totals,
--   similarity(a, b) = weight(a, b) / (sqrt(total(a) * total(b)) + :shrinkage),
-- where weight sums the pairs of the window's days and total(a) the weights of all pairs with a. The square root holds
-- popular items back, :shrinkage pairs that few users made. Ties are broken by item_index.
with pairs as (
  select item_index, other_index, sum(weight) as weight
  from {daily_item_pairs}
  group by item_index, other_index
),

both_ways as (
  select item_index, other_index, weight from pairs
  union all
  select other_index as item_index, item_index as other_index, weight from pairs
),

totals as (
  select item_index, sum(weight) as weight
  from both_ways
  group by item_index
),

similarities as (
  select
    both_ways.item_index,
    both_ways.other_index,
    both_ways.weight / (sqrt(double(own.weight) * double(other.weight)) + 1000000 * :shrinkage) as similarity
  from both_ways
  inner join totals as own on own.item_index = both_ways.item_index
  inner join totals as other on other.item_index = both_ways.other_index
  left semi join {items} as shown on shown.item_index = both_ways.other_index and shown.available
),

ranked as (
  select
    *,
    row_number() over (partition by item_index order by similarity desc, other_index) as rank
  from similarities
)

select
  item_index,
  transform(
    array_sort(collect_list(struct(rank, other_index, similarity))),
    one -> struct(one.other_index as item_index, float(one.similarity) as similarity)
  ) as neighbours
from ranked
where rank <= :per_item
group by item_index

-- The mean cosine of two vectors of a sample: the squared length of their mean. Each vector has norm 1.
with numbers as (
  select place.dim, place.number
  from {vectors} as vectors
  lateral view posexplode(vectors.embedding) place as dim, number
  where pmod(xxhash64(vectors.id), :one_in) = 0
),

means as (
  select dim, avg(double(number)) as mean
  from numbers
  group by dim
)

select sum(mean * mean) as mean_cosine
from means

-- The mean cosine similarity of two vectors of a sample. As all vectors have norm 1, this is the squared norm of the
-- mean vector. An embedding of several interests is that many vectors in a row: the largest of its interests, because
-- the mean over them would hide that one interest is the same for all users.
with numbers as (
  select
    element.dim div (size(vectors.embedding) div :interests) as interest,
    element.dim,
    element.number
  from {vectors} as vectors
  lateral view posexplode(vectors.embedding) element as dim, number
  where pmod(xxhash64(vectors.id), :one_in) = 0
),

means as (
  select interest, dim, avg(double(number)) as mean
  from numbers
  group by interest, dim
),

by_interest as (
  select interest, sum(mean * mean) as mean_cosine
  from means
  group by interest
)

select max(mean_cosine) as mean_cosine
from by_interest

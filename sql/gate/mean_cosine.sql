-- The mean cosine similarity of two vectors of a sample. As all vectors have norm 1, this is the squared norm of the
-- mean vector. An embedding of several interests is that many vectors in a row: the mean over its interests.
with numbers as (
  select element.dim, element.number
  from {vectors} as vectors
  lateral view posexplode(vectors.embedding) element as dim, number
  where pmod(xxhash64(vectors.id), :one_in) = 0
),

means as (
  select dim, avg(double(number)) as mean
  from numbers
  group by dim
)

select sum(mean * mean) / :interests as mean_cosine
from means

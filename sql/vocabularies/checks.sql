-- What is added has an index each, and no index twice.
select
  count(*) - count(distinct feature, value) as `#fail values with more than one index`,
  count(*) - count(distinct feature, index) as `#fail indices of more than one value`,
  count_if(index < 2) as `#fail indices of padding or of the unknown`
from {rows}

-- Every new value has one index, and every new index one value.
select
  count(*) - count(distinct feature, value) as `#fail values with more than one index`,
  count(*) - count(distinct feature, index) as `#fail indices of more than one value`,
  count_if(index < 2) as `#fail indices that are reserved for padding or unknown values`
from {rows}

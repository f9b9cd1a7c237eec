-- The window has each item once, and its examples are as many as training reads.
select
  count(*) - count(distinct item_id) as `#fail items with more than one row`,
  count_if(least(impressions, exposures, clicks, examples) < 0) as `#fail items with a negative count`,
  abs(coalesce(sum(examples), 0) - (select count(*) from {training_examples}))
    as `#fail difference between counted and existing examples`
from {rows}

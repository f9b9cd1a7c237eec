-- The window holds each item once, and exactly the examples that training reads.
select
  count(*) - count(distinct item_id) as `#fail items with more than one row`,
  count_if(least(impressions, exposures, clicks, examples) < 0) as `#fail items that a day left more often than it entered`,
  abs(coalesce(sum(examples), 0) - (select count(*) from {training_examples}))
    as `#fail examples that are counted and not there, or there and not counted`
from {rows}

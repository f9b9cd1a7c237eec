-- The pool has each item at most once, exposed and without a click.
select
  count(*) - count(distinct item_id) as `#fail items with more than one row`,
  count_if(exposures < 1) as `#fail items without an exposure`,
  (
    select count(*)
    from {rows} as pool
    left semi join {window_item_counts} as counts on counts.item_id = pool.item_id and counts.clicks > 0
  ) as `#fail items that were clicked`,
  int(count(*) = 0) as `#warn the unclicked pool is empty`
from {rows}

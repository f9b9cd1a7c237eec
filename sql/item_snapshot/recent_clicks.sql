-- Clicks of each item on the impressions of the last :days days up to and including :ds, and of as many days before it.
-- A click counts only if it happened before the end of the last of these days. So a click after midnight on an impression
-- before it counts from the next day on, whether its own day is built again with it or not.
select
  item_id,
  count_if(ds > date_sub(:ds, :days) and clicked_at < :end) as clicks,
  count_if(ds < :ds and clicked_at < :start) as clicks_before
from {interactions}
where clicked
group by item_id

-- How many rows a table has on a day and on the one before it, and when the newest file of each was written.
select
  :table as table,
  ds,
  count(*) as rows,
  unix_millis(max(written)) as written
from {files}
where ds = :today or ds = :yesterday
group by ds

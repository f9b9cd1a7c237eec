-- A table's number of rows on :today and :yesterday, and when the newest file of each day was written.
select
  :table as table,
  ds,
  count(*) as rows,
  unix_millis(max(written)) as written
from {files}
where ds = :today or ds = :yesterday
group by ds

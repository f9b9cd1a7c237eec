-- The lists of a publication. ds, model_version: of its row, the one of `publications` with the highest `publication`.
-- Because a published day may be scored again, `candidates` must be the table at that row's candidates_version:
-- spark.read.format("delta").option("versionAsOf", candidates_version), or `candidates version as of N` in SQL.
select *
from {candidates}
where ds = :ds and model_version = :model_version

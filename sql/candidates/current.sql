-- The published candidates: those of the day and model version that the newest publication names. Because a published
-- day may be scored again, `candidates` must be the table at the publication's candidates_version.
select candidates.*
from {candidates} as candidates
inner join (
  select max_by(ds, publication) as ds, max_by(model_version, publication) as model_version
  from {publications}
) as current
  on candidates.ds = current.ds and candidates.model_version = current.model_version

-- Hashes of the impression_ids of :ds that landed more than once since :first_copy_ds; another id may have the same hash.
select xxhash64(impression_id) as id
from {impressions}
where ds between :first_copy_ds and :ds
group by xxhash64(impression_id)
having count(*) > 1 and max(ds) = :ds

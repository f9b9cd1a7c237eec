-- The lowest position at which each request was clicked: the user has examined all positions above it.
select request_id, user_id, max(position) as last_clicked_position
from {interactions}
where clicked and position is not null and request_id <> ''
group by request_id, user_id

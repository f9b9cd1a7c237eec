-- The lowest place that each request was clicked at: what lies above it was passed on the way there.
select request_id, user_id, max(position) as last_clicked_position
from {interactions}
where clicked and position is not null and request_id <> ''
group by request_id, user_id

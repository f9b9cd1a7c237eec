-- The outcomes of a day do not contradict themselves.
select
  count_if(user_id is null or user_id = '' or item_id is null or item_id = '') as `#fail interactions without a user or an item`,
  count_if(clicked <> (clicked_at is not null)) as `#fail interactions with a click but no clicked_at, or the reverse`,
  count_if(clicked_at > outcome_final_at) as `#fail clicks after their attribution window`,
  count_if(reward is not null and not clicked) as `#fail rewards without a click`,
  int(count(*) > 0 and count_if(clicked) = 0) as `#warn a day without a single click`
from {rows}

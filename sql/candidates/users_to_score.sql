-- Every user's vector with the items not to show again, and the list that may stand: the one of a publication of the same
-- model, where nothing that it was made from has changed.
select
  users.user_id,
  users.embedding,
  users.is_cold,
  users.segment,
  coalesce(histories.excluded, cast(array() as array<int>)) as excluded,
  published.candidates as kept,
  published.scored_at as kept_scored_at
from {user_embeddings} as users
left join {user_histories} as histories on histories.user_id = users.user_id
left join {published} as published
  on published.user_id = users.user_id and published.scored_from = users.scored_from

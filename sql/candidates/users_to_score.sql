-- Every user's embedding, last clicks and excluded items, and the list that may be reused: the published list of the
-- same model, if the inputs of the list have not changed (scored_from); otherwise null.
select
  users.user_id,
  users.embedding,
  users.is_cold,
  users.segment,
  coalesce(histories.excluded, cast(array() as array<int>)) as excluded,
  coalesce(histories.history, cast(array() as array<int>)) as history,
  published.candidates as reusable_list,
  published.scored_at as reusable_scored_at
from {user_embeddings} as users
left join {user_histories} as histories on histories.user_id = users.user_id
left join {published} as published
  on published.user_id = users.user_id and published.scored_from = users.scored_from

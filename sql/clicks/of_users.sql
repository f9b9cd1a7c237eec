-- The clicks without a user_id that belong to a user of {forgotten}, by day and impression_id. Ids may have been used
-- again: a click belongs to the first impression of its id that landed within the attribution window of the click's day,
-- or else to the nearest one.
with theirs as (
  select distinct shown.impression_id
  from {shown} as shown
  inner join {forgotten} as forgotten on forgotten.user_id = shown.user_id
),

unnamed as (
  select distinct clicks.ds, clicks.impression_id
  from {clicks} as clicks
  left semi join theirs on theirs.impression_id = clicks.impression_id
  where clicks.user_id is null
),

owned as (
  select
    unnamed.ds,
    unnamed.impression_id,
    min_by(
      shown.user_id,
      struct(
        shown.ds not between date_sub(unnamed.ds, :window_days) and date_add(unnamed.ds, :skew_days) as is_outside,
        if(
          shown.ds between date_sub(unnamed.ds, :window_days) and date_add(unnamed.ds, :skew_days),
          datediff(shown.ds, unnamed.ds),
          abs(datediff(unnamed.ds, shown.ds))
        ) as days,
        shown.impressed_at,
        shown.user_id
      )
    ) as user_id
  from unnamed
  inner join {shown} as shown on shown.impression_id = unnamed.impression_id
  group by unnamed.ds, unnamed.impression_id
)

select owned.ds, owned.impression_id, owned.user_id
from owned
inner join {forgotten} as forgotten on forgotten.user_id = owned.user_id

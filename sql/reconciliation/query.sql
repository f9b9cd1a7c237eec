-- One row: how many of the impressions and clicks that landed on the day had which outcome. Landed rows are counted in the
-- raw tables and accepted ones in interactions, so that the checks find rows that were lost or duplicated in between.
with copies as (
  select
    impression_id,
    count_if(ds = :ds) as today,
    bool_or(ds < :ds) as is_known,
    min(content) <> max(content) as is_conflicting,
    min(if(ds = :ds, struct(impressed_at, user_id), null)).user_id as user_id
  from (
    select
      impression_id,
      ds,
      impressed_at,
      user_id,
      xxhash64(isnull(request_id), request_id, user_id, item_id, isnull(position), position, impressed_at) as content
    from {impressions}
    where ds between :first_copy_ds and :ds
  )
  group by impression_id
),

impressions as (
  select
    coalesce(sum(copies.today), 0) as landed,
    coalesce(sum(copies.today - int(not copies.is_known)), 0) as duplicates,
    count_if(copies.is_conflicting) as conflicts,
    count_if(set_aside.user_id is not null and not copies.is_known) as set_aside
  from copies
  left join (select user_id from {set_aside} where ds = :ds) as set_aside on set_aside.user_id = copies.user_id
  where copies.today > 0
),

set_aside_users as (
  select count(*) as users
  from {set_aside}
  where ds = :ds
),

-- as in interactions, an id is of the day on which it landed first
set_aside_impressions as (
  select impressions.impression_id, min(impressions.ds) as ds
  from {impressions} as impressions
  left semi join {set_aside} as set_aside
    on set_aside.ds = impressions.ds
    and set_aside.user_id = impressions.user_id
  where impressions.ds between :first_ds and :last_ds
  group by impressions.impression_id
),

interactions as (
  select
    count(*) as accepted,
    count_if(clicked) as clicked,
    count(distinct user_id) as users,
    count(distinct item_id) as items
  from {interactions}
  where ds = :ds
),

-- Clicks by impression; those without one, by user and item, so that they are spread over the partitions.
keyed as (
  select *, impression_id is null as is_alone, coalesce(impression_id, concat_ws('\u001f', user_id, item_id)) as key
  from {clicks}
),

-- A click may land from :skew_days days before the day of its impression to :window_days days after it.
classified as (
  select
    clicks.*,
    shown.ds as shown_ds,
    shown.clicked_at as counted_at,
    case
      when shown.impression_id is null
        and clicks.ds between date_sub(aside.ds, :skew_days) and date_add(aside.ds, :window_days) then 'set aside'
      when shown.impression_id is null
        or clicks.ds not between date_sub(shown.ds, :skew_days) and date_add(shown.ds, :window_days) then 'orphan'
      when clicks.clicked_at < timestampadd(second, -:clock_skew_seconds, shown.impressed_at) then 'early'
      when clicks.clicked_at > shown.outcome_final_at then 'late'
      else 'valid'
    end as state
  from keyed as clicks
  left join {interactions} as shown
    on shown.impression_id = clicks.key
    and not clicks.is_alone
    and shown.ds between :first_ds and :last_ds
  left join set_aside_impressions as aside
    on aside.impression_id = clicks.key
    and not clicks.is_alone
),

ranked as (
  select
    *,
    row_number() over by_time as number,
    lag(clicked_at) over by_time = clicked_at and not lag(reward) over by_time <=> reward as differs
  from classified
  window by_time as (partition by key, is_alone, state order by clicked_at, ds, reward desc nulls last)
),

clicks as (
  select
    count_if(ds = :ds and state = 'valid' and number = 1) as matched,
    count_if(ds = :ds and state = 'valid' and number > 1) as duplicates,
    count_if(ds = :ds and state = 'orphan') as orphans,
    count_if(ds = :ds and state = 'early') as early,
    count_if(ds = :ds and state = 'late') as late,
    count_if(ds = :ds and state = 'set aside') as set_aside,
    count_if(ds = :ds and differs) as conflicts,
    -- for the impressions of the day: the clicks that must count, and those that are missing in interactions
    count_if(shown_ds = :ds and state = 'valid' and number = 1) as first_clicks,
    count_if(shown_ds = :ds and state = 'valid' and number = 1 and not counted_at <=> clicked_at) as missed
  from ranked
),

landed_clicks as (
  select count(*) as landed
  from {raw_clicks}
  where ds = :ds
),

refused as (
  select count_if(table = 'impressions') as impressions, count_if(table = 'clicks') as clicks
  from {quarantine}
  where ds = :ds
)

select
  impressions.landed + refused.impressions as impressions,
  interactions.accepted as interactions,
  impressions.duplicates as duplicate_impressions,
  impressions.conflicts as conflicting_impressions,
  refused.impressions as refused_impressions,
  landed_clicks.landed + refused.clicks as clicks,
  clicks.matched as matched_clicks,
  clicks.orphans as orphan_clicks,
  clicks.early as early_clicks,
  clicks.late as late_clicks,
  clicks.duplicates as duplicate_clicks,
  clicks.conflicts as conflicting_clicks,
  refused.clicks as refused_clicks,
  interactions.clicked,
  clicks.first_clicks,
  clicks.missed,
  interactions.users,
  interactions.items,
  set_aside_users.users as set_aside_users,
  impressions.set_aside as set_aside_impressions,
  clicks.set_aside as set_aside_clicks
from impressions
cross join set_aside_users
cross join interactions
cross join clicks
cross join landed_clicks
cross join refused

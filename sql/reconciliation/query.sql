-- What became of each impression and each click that landed on the day: one row. Landed rows are counted from the raw
-- tables, accepted ones from interactions, so that a row that is lost or duplicated between them shows.
with copies as (
  select
    impression_id,
    count_if(ds = :ds) as today,
    bool_or(ds < :ds) as is_known,
    min(content) <> max(content) as is_conflicting
  from (
    select
      impression_id,
      ds,
      xxhash64(isnull(request_id), request_id, user_id, item_id, isnull(position), position, impressed_at) as content
    from {impressions}
    where ds between :first_copy_ds and :ds
  )
  group by impression_id
),

impressions as (
  select
    coalesce(sum(today), 0) as landed,
    coalesce(sum(today - int(not is_known)), 0) as duplicates,
    count_if(is_conflicting) as conflicts
  from copies
  where today > 0
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

-- A click may land from the tolerated clock skew before its impression's day to the attribution window after it.
classified as (
  select
    clicks.*,
    shown.ds as shown_ds,
    shown.clicked_at as counted_at,
    case
      when shown.impression_id is null
        or clicks.ds not between date_sub(shown.ds, :skew_days) and date_add(shown.ds, :window_days) then 'orphan'
      when clicks.clicked_at < timestampadd(second, -:clock_skew_seconds, shown.impressed_at) then 'early'
      when clicks.clicked_at > shown.outcome_final_at then 'late'
      else 'valid'
    end as state
  from {clicks} as clicks
  left join {interactions} as shown
    on shown.impression_id = clicks.impression_id
    and shown.ds between :first_ds and :last_ds
),

ranked as (
  select
    *,
    row_number() over by_time as number,
    lag(clicked_at) over by_time = clicked_at and not lag(reward) over by_time <=> reward as differs
  from classified
  window by_time as (partition by impression_id, state order by clicked_at, ds, reward desc nulls last)
),

clicks as (
  select
    count_if(ds = :ds and state = 'valid' and number = 1) as matched,
    count_if(ds = :ds and state = 'valid' and number > 1) as duplicates,
    count_if(ds = :ds and state = 'orphan') as orphans,
    count_if(ds = :ds and state = 'early') as early,
    count_if(ds = :ds and state = 'late') as late,
    count_if(ds = :ds and differs) as conflicts,
    -- of the day's impressions: the clicks that must count, and those that interactions lacks
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
  interactions.items
from impressions
cross join interactions
cross join clicks
cross join landed_clicks
cross join refused

-- The share of the available items that have no click in the window: that of lists which are drawn at random.
select try_divide(double(count_if(coalesce(slices.clicks, 0) = 0)), count(*)) as never_clicked_share
from {item_snapshot} as items
left join {item_slices} as slices on slices.item_id = items.item_id
where items.available

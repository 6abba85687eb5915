-- Which items have several changes in one instant?
-- item_key; tied_changes: those that shared the item's newest instant when they came; first, last: when, in UTC.
-- Tied items are settled by their images, from their whole history: right, and slower. Many of them: the stream gives
-- milliseconds; switch the destination to microseconds. dynalake explain TABLE KEY… tells how one was settled.
SELECT item_key, count(*) AS tied_changes, min(event_time) AS first, max(event_time) AS last
FROM {table}_changes WHERE is_tied GROUP BY item_key ORDER BY tied_changes DESC, item_key LIMIT 20

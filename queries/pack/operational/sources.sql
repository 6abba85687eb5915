-- Where do changes come from, and of what kind are they?
-- source: stream, or scan, export and repair for what was read; op; changes; items: that they are of;
-- first, last: when, in UTC.
-- No rows of scan or export: what was in the table before it streamed is not in the lake; see dynalake backfill.
SELECT source, op, count(*) AS changes, count(DISTINCT item_key) AS items, min(event_time) AS first,
  max(event_time) AS last
FROM {table}_changes GROUP BY source, op ORDER BY source, op

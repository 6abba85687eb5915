-- How many changes arrived after a newer one of their item, by hour of the change?
-- hour: UTC, of when the change was made; changes: all of that hour; late: of these, those older than what the log
-- held of their item when they came; late_percent: their share.
-- Late changes are right in the lake, whenever they come. A peak tells of a shard that was held back, a replay or a
-- redrive about that hour; a steady share of several percent of too many objects a batch, or of a retrying producer.
SELECT date_trunc('hour', event_time) AS hour, count(*) AS changes, count(*) FILTER (WHERE is_late) AS late,
  round(100 * count(*) FILTER (WHERE is_late) / count(*), 2) AS late_percent
FROM {table}_changes WHERE source = 'stream'
GROUP BY hour HAVING late > 0 ORDER BY hour

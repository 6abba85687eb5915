-- Which items are written most?
-- item_key; changes: all that were streamed; percent: their share of the table's; most_in_a_second: the item's busiest.
-- An item that takes much of a table's writes is a counter or a lock, mostly: in milliseconds its changes tie, which
-- makes compaction slower (see ties). Spread it over several items, or stream in microseconds.
WITH seconds AS (
  SELECT item_key, date_trunc('second', event_time) AS second, count(*) AS changes
  FROM {table}_changes WHERE source = 'stream' GROUP BY ALL)
SELECT item_key, sum(changes)::BIGINT AS changes,
  round(100 * sum(changes) / (SELECT sum(changes) FROM seconds), 2) AS percent, max(changes) AS most_in_a_second
FROM seconds GROUP BY item_key ORDER BY changes DESC, item_key LIMIT 20

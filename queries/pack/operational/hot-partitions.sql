-- Which hash keys are written most?
-- hash_key: as in item_key, before its |; items: how many of it changed; changes: all that were streamed;
-- percent: their share of the table's; most_in_a_second: its busiest.
-- DynamoDB takes some 1,000 writes a second for one hash key: near that, writes are throttled. Shard the key.
WITH changes AS (
  SELECT regexp_extract(item_key, '^((?:\\.|[^\\|])*)', 1) AS hash_key, item_key,
    date_trunc('second', event_time) AS second
  FROM {table}_changes WHERE source = 'stream'),
items AS (SELECT hash_key, count(DISTINCT item_key) AS items FROM changes GROUP BY hash_key),
seconds AS (SELECT hash_key, second, count(*) AS changes FROM changes GROUP BY ALL)
SELECT hash_key, any_value(items) AS items, sum(changes)::BIGINT AS changes,
  round(100 * sum(changes) / (SELECT sum(changes) FROM seconds), 2) AS percent, max(changes) AS most_in_a_second
FROM seconds JOIN items USING (hash_key) GROUP BY hash_key ORDER BY changes DESC, hash_key LIMIT 20

-- How many deletes are expiries by TTL, by day?
-- day: UTC; changes: all that were streamed; deletes: REMOVEs; expired: those that DynamoDB made because an item had
-- expired; expired_percent: their share of the deletes.
-- No expiries where there should be: look at the table's TTL attribute (seconds since 1970, a number). Whether what
-- expires stays in the current state is the table's ttl in lake.toml.
SELECT event_time::DATE AS day, count(*) AS changes, count(*) FILTER (WHERE op = 'REMOVE') AS deletes,
  count(*) FILTER (WHERE op = 'REMOVE' AND is_ttl) AS expired,
  round(100 * expired / nullif(deletes, 0), 2) AS expired_percent
FROM {table}_changes WHERE source = 'stream' GROUP BY day ORDER BY day

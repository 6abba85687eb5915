-- How far behind is the lake?
-- newest_change: when the newest change was made, by DynamoDB's clock; last_taken: when compact last took in an object;
-- seconds_behind: between these two; minutes_since: between the last one and now (all in UTC).
-- A growing seconds_behind: delivery is slow (Firehose buffers up to 15 minutes) or nothing is written to the table.
-- A growing minutes_since: compact does not run, or nothing lands; see dynalake status and the stream's own metrics.
SELECT newest_change, last_taken,
  date_diff('second', newest_change, last_taken) AS seconds_behind,
  date_diff('minute', last_taken, now()::TIMESTAMP) AS minutes_since
FROM (SELECT max(event_time) AS newest_change FROM {table}_changes WHERE source = 'stream'),
  (SELECT max(taken_at) AS last_taken FROM {table}_ledger)

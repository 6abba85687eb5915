-- How much of what arrives is there already, by day of compaction?
-- day: UTC, of when objects were taken in; objects, records: what was read; changes: new ones; duplicates: known ones;
-- duplicate_percent: their share of the records; dead_letters: records that could not be taken in.
-- A percent or two is Kinesis and Firehose at work. Much more: two capture paths overlap, or objects are read again
-- (compact --reread, a replay): harmless, and paid for twice. Dead letters: see dynalake dead-letters.
SELECT taken_at::DATE AS day, count(*) AS objects, sum(records)::BIGINT AS records, sum(changes)::BIGINT AS changes,
  sum(duplicates)::BIGINT AS duplicates, round(100 * sum(duplicates) / nullif(sum(records), 0), 2) AS duplicate_percent,
  sum(dead_letters)::BIGINT AS dead_letters
FROM {table}_ledger GROUP BY day ORDER BY day

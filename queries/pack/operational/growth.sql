-- How do items and their size grow, by day?
-- day: UTC; changes: all of the day; log_bytes: the images in them, as JSON; items_more, bytes_more: by how much the
-- table's items and their JSON grew; items, bytes: what there was at the end of the day.
-- Changes outgrow items: the log grows by rewriting the same ones; larger images of few writes: look at largest-items.
-- (Of changes of one item in one instant any may count as the last; see ties.)
WITH days AS (
  SELECT item_key, event_time::DATE AS day, count(*) AS changes,
    sum(coalesce(strlen(new_image), 0) + coalesce(strlen(old_image), 0)) AS log_bytes,
    arg_max(CASE WHEN op = 'REMOVE' THEN 0 ELSE coalesce(strlen(new_image), 0) END, created_at_us) AS bytes
  FROM {table}_changes GROUP BY ALL),
steps AS (
  SELECT *, lag(bytes, 1, 0) OVER (PARTITION BY item_key ORDER BY day) AS before FROM days),
totals AS (
  SELECT day, sum(changes)::BIGINT AS changes, sum(log_bytes)::BIGINT AS log_bytes,
    sum((bytes > 0)::INT - (before > 0)::INT)::BIGINT AS items_more, sum(bytes - before)::BIGINT AS bytes_more
  FROM steps GROUP BY day)
SELECT *, sum(items_more) OVER (ORDER BY day)::BIGINT AS items, sum(bytes_more) OVER (ORDER BY day)::BIGINT AS bytes
FROM totals ORDER BY day

-- How many flights were cancelled, and how many merely expired? (deletes, told apart)
-- cancelled: deleted by somebody; expired: deleted by DynamoDB's TTL; scheduled: that were inserted.
-- In DynamoDB both kinds are gone without a trace.
SELECT count(DISTINCT item_key) FILTER (op = 'REMOVE' AND NOT is_ttl) AS cancelled,
  count(DISTINCT item_key) FILTER (op = 'REMOVE' AND is_ttl) AS expired,
  count(DISTINCT item_key) FILTER (op = 'INSERT') AS scheduled
FROM {table}_changes WHERE item_key LIKE 'FLIGHT#%'

-- Which routes are flown most? (a group-by over typed columns)
-- origin, dest; flights: that have not expired yet; carriers: how many fly it; mean_air_minutes: of those that landed.
SELECT origin, dest, count(*) AS flights, count(DISTINCT carrier) AS carriers,
  round(avg(air_time), 1) AS mean_air_minutes
FROM {table} WHERE type = 'flight' GROUP BY origin, dest ORDER BY flights DESC, origin, dest LIMIT 10

-- At what hour do flights leave latest? (a value inside a map)
-- hour: of the scheduled departure, in UTC (New York is five hours behind); flights: that left; mean_delay_minutes.
-- Delays pile up over the day: the evening pays for the morning.
SELECT hour(CAST(json_extract_string(scheduled, '$.departure') AS TIMESTAMP)) AS hour, count(*) AS flights,
  round(avg(dep_delay), 1) AS mean_delay_minutes
FROM {table} WHERE type = 'flight' AND dep_delay IS NOT NULL GROUP BY hour ORDER BY mean_delay_minutes DESC, hour

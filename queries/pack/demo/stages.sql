-- How long are flights in each status before the next? (every change, not only the last)
-- from_status, to_status; flights: that went this way; median_minutes: in between, where both changes were streamed.
SELECT before AS from_status, after AS to_status, count(*) AS flights, round(median(minutes), 1) AS median_minutes
FROM (SELECT json_extract_string(old_image, '/status/S') AS before,
    json_extract_string(new_image, '/status/S') AS after,
    date_diff('second', lag(event_time) OVER (PARTITION BY item_key ORDER BY created_at_us), event_time) / 60 AS minutes
  FROM {table}_changes WHERE item_key LIKE 'FLIGHT#%' AND op IN ('INSERT', 'MODIFY'))
WHERE before <> after GROUP BY ALL ORDER BY flights DESC, from_status, to_status

-- What did the board say six hours before the last change? (any moment of the past)
-- status; flights: that were in it then.
-- Any other instant will do, from the end of the backfill on: {table}_as_of('2013-01-03 17:00:00').
SELECT status, count(*) AS flights
FROM {table}_as_of((SELECT max(event_time) - INTERVAL 6 HOURS FROM {table}_changes))
WHERE type = 'flight' GROUP BY status ORDER BY flights DESC, status

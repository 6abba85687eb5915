-- What did the board say at noon of the second day, 17:00 UTC? (any moment of the past)
-- status; flights: that were in it then.
-- Any other instant will do; one before the backfill was complete is refused.
SELECT status, count(*) AS flights FROM {table}_as_of('2013-01-02 17:00:00')
WHERE type = 'flight' GROUP BY status ORDER BY flights DESC, status

-- Which carriers leave late? (current state: the flights that have not expired yet)
-- carrier; flights: landed; mean_delay_minutes: at departure; late_percent: those that left more than 15 minutes late.
-- Flights and carriers are items of one table: it is joined with itself.
SELECT c.name AS carrier, count(*) AS flights, round(avg(f.dep_delay), 1) AS mean_delay_minutes,
  round(100 * avg((f.dep_delay > 15)::INT), 1) AS late_percent
FROM {table} f JOIN {table} c ON c.pk = 'CARRIER#' || f.carrier
WHERE f.type = 'flight' AND f.status = 'landed' GROUP BY c.name ORDER BY late_percent DESC, carrier LIMIT 6

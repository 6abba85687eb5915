-- Which planes work hardest, and where have they been? (numbers and sets as they are in DynamoDB)
-- plane; model; flights; hours_flown: a number with its digits; airports: how many, of a set; last_airport.
-- A plane without a model is in no register.
SELECT pk AS plane, model, flights, hours_flown, len(airports) AS airports, last_airport
FROM {table} WHERE type = 'plane' AND flights > 0 ORDER BY hours_flown DESC, plane LIMIT 5

-- Which attributes hold values of another kind than their column?
-- attribute: its name in DynamoDB; items: whose value is in _rescued and NULL in the column; example: one of them, in
-- DynamoDB's JSON.
-- A writer that sends numbers as strings, mostly: mend it there. The values are whole in _rescued and in _item.
SELECT attribute, count(*) AS items, min(value) AS example
FROM (SELECT unnest(map_keys(rescued)) AS attribute, unnest(map_values(rescued)) AS value
  FROM (SELECT from_json(_rescued, '"MAP(VARCHAR, VARCHAR)"') AS rescued FROM {table} WHERE _rescued IS NOT NULL))
GROUP BY attribute ORDER BY items DESC, attribute

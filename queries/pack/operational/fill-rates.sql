-- Which attributes do items have, and how many items have them?
-- attribute: its name in DynamoDB; items: that have it, be it NULL; percent: of all items.
-- Attributes that few items have are another entity's (dynalake infer-entities), on their way in or out, or misspelt.
SELECT attribute, count(*) AS items, round(100 * count(*) / (SELECT count(*) FROM {table}), 2) AS percent
FROM (SELECT unnest(json_keys(_item)) AS attribute FROM {table})
GROUP BY attribute ORDER BY items DESC, attribute

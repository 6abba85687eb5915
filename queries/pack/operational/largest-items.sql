-- Which items are largest?
-- item_key; bytes: of the item as DynamoDB's JSON, a little more than DynamoDB counts; attributes: how many it has;
-- changed_at: when it was last changed, in UTC.
-- DynamoDB takes items of up to 400 KB and bills every write of one by its whole size: lists that only grow belong in
-- items of their own.
SELECT _item_key AS item_key, strlen(_item) AS bytes, len(json_keys(_item)) AS attributes,
  make_timestamp(_created_at_us) AS changed_at
FROM {table} ORDER BY bytes DESC, item_key LIMIT 20

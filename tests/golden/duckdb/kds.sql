-- orders
SELECT "pk", "a_b", "a_b_2", "it_s", "q_q", "back_slash", "_0_", "né", "_", "ns", CAST(NULL AS BLOB[]) AS "bs", CAST("grew" AS DECIMAL(38, 1)) AS "grew", COALESCE(CASE WHEN regexp_matches(json_extract_string(_item, '/burst/N'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_string(_item, '/burst/N') AS DOUBLE) END, CAST("burst" AS DOUBLE)) AS "burst", "_item_key", "_item", "_created_at_us", "_op", "_rescued", "_expired_at"
FROM iceberg_scan('s.json') AS "of state"
WHERE NOT EXISTS(SELECT 1
FROM iceberg_scan('t.json') AS "of tail"
WHERE "of tail"._item_key = "of state"._item_key)
UNION ALL SELECT "pk", "a_b", "a_b_2", "it_s", "q_q", "back_slash", "_0_", "né", "_", "ns", "bs", "grew", "burst", "_item_key", "_item", "_created_at_us", "_op", "_rescued", "_expired_at"
FROM iceberg_scan('t.json') AS "of tail"
WHERE _is_live

-- orders_changes
SELECT "item_key", "pk", "op", "event_time", "created_at_us", "event_id", "is_ttl", "new_image", "old_image", json_extract_string(new_image, '/pk/S') AS "new_pk",
CASE WHEN regexp_matches(json_extract_string(new_image, '/a b/N'), '^-?0*[0-9]{1,18}([.]0*)?$') THEN TRY_CAST(TRY_CAST(json_extract_string(new_image, '/a b/N') AS DECIMAL(38,0)) AS BIGINT) END AS "new_a_b",
CASE WHEN regexp_matches(json_extract_string(new_image, '/a.b/N'), '^-?0*[0-9]{1,36}([.][0-9]{0,2}0*)?$') THEN TRY_CAST(json_extract_string(new_image, '/a.b/N') AS DECIMAL(38,2)) END AS "new_a_b_2",
CASE WHEN regexp_matches(json_extract_string(new_image, '/it''s/N'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_string(new_image, '/it''s/N') AS DOUBLE) END AS "new_it_s",
CASE json_extract_string(new_image, '/q"q/BOOL') WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END AS "new_q_q",
CASE WHEN regexp_matches(json_extract_string(new_image, '/back\slash/B'), '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN from_base64(json_extract_string(new_image, '/back\slash/B')) END AS "new_back_slash",
CASE WHEN starts_with(json_extract_string(new_image, '/[0]'), '{"M":') THEN json_extract_string(new_image, '/[0]') END AS "new__0_",
CASE WHEN starts_with(json_extract_string(new_image, '/né'), '{"L":') THEN json_extract_string(new_image, '/né') END AS "new_né", list_sort(TRY(from_json(json_extract_string(new_image, '/*/SS'), '["VARCHAR"]'))) AS "new__",
CASE WHEN len(list_filter(TRY(from_json(json_extract_string(new_image, '/ns/NS'), '["VARCHAR"]')), lambda e: NOT regexp_matches(e, '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$'))) = 0 THEN list_sort(list_transform(TRY(from_json(json_extract_string(new_image, '/ns/NS'), '["VARCHAR"]')), lambda e:
CASE WHEN regexp_matches(e, '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN TRY_CAST(e AS DECIMAL(38,1)) END)) END AS "new_ns",
CASE WHEN len(list_filter(TRY(from_json(json_extract_string(new_image, '/bs/BS'), '["VARCHAR"]')), lambda e: NOT regexp_matches(e, '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'))) = 0 THEN list_sort(list_transform(TRY(from_json(json_extract_string(new_image, '/bs/BS'), '["VARCHAR"]')), lambda e:
CASE WHEN regexp_matches(e, '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN from_base64(e) END)) END AS "new_bs",
CASE WHEN regexp_matches(json_extract_string(new_image, '/grew/N'), '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN TRY_CAST(json_extract_string(new_image, '/grew/N') AS DECIMAL(38,1)) END AS "new_grew",
CASE WHEN regexp_matches(json_extract_string(new_image, '/burst/N'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_string(new_image, '/burst/N') AS DOUBLE) END AS "new_burst", json_extract_string(old_image, '/pk/S') AS "old_pk",
CASE WHEN regexp_matches(json_extract_string(old_image, '/a b/N'), '^-?0*[0-9]{1,18}([.]0*)?$') THEN TRY_CAST(TRY_CAST(json_extract_string(old_image, '/a b/N') AS DECIMAL(38,0)) AS BIGINT) END AS "old_a_b",
CASE WHEN regexp_matches(json_extract_string(old_image, '/a.b/N'), '^-?0*[0-9]{1,36}([.][0-9]{0,2}0*)?$') THEN TRY_CAST(json_extract_string(old_image, '/a.b/N') AS DECIMAL(38,2)) END AS "old_a_b_2",
CASE WHEN regexp_matches(json_extract_string(old_image, '/it''s/N'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_string(old_image, '/it''s/N') AS DOUBLE) END AS "old_it_s",
CASE json_extract_string(old_image, '/q"q/BOOL') WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END AS "old_q_q",
CASE WHEN regexp_matches(json_extract_string(old_image, '/back\slash/B'), '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN from_base64(json_extract_string(old_image, '/back\slash/B')) END AS "old_back_slash",
CASE WHEN starts_with(json_extract_string(old_image, '/[0]'), '{"M":') THEN json_extract_string(old_image, '/[0]') END AS "old__0_",
CASE WHEN starts_with(json_extract_string(old_image, '/né'), '{"L":') THEN json_extract_string(old_image, '/né') END AS "old_né", list_sort(TRY(from_json(json_extract_string(old_image, '/*/SS'), '["VARCHAR"]'))) AS "old__",
CASE WHEN len(list_filter(TRY(from_json(json_extract_string(old_image, '/ns/NS'), '["VARCHAR"]')), lambda e: NOT regexp_matches(e, '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$'))) = 0 THEN list_sort(list_transform(TRY(from_json(json_extract_string(old_image, '/ns/NS'), '["VARCHAR"]')), lambda e:
CASE WHEN regexp_matches(e, '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN TRY_CAST(e AS DECIMAL(38,1)) END)) END AS "old_ns",
CASE WHEN len(list_filter(TRY(from_json(json_extract_string(old_image, '/bs/BS'), '["VARCHAR"]')), lambda e: NOT regexp_matches(e, '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'))) = 0 THEN list_sort(list_transform(TRY(from_json(json_extract_string(old_image, '/bs/BS'), '["VARCHAR"]')), lambda e:
CASE WHEN regexp_matches(e, '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN from_base64(e) END)) END AS "old_bs",
CASE WHEN regexp_matches(json_extract_string(old_image, '/grew/N'), '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN TRY_CAST(json_extract_string(old_image, '/grew/N') AS DECIMAL(38,1)) END AS "old_grew",
CASE WHEN regexp_matches(json_extract_string(old_image, '/burst/N'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_string(old_image, '/burst/N') AS DOUBLE) END AS "old_burst"
FROM iceberg_scan('l.json') AS l

-- orders_big
SELECT "pk", "a_b", coalesce(json_extract_string(_item, '/x y/S'), json_extract_string(_item, '/x y/N')) AS "x_y", "_item_key", "_item", "_created_at_us", "_op", "_rescued", "_expired_at"
FROM (SELECT "pk", "a_b", "a_b_2", "it_s", "q_q", "back_slash", "_0_", "né", "_", "ns", CAST(NULL AS BLOB[]) AS "bs", CAST("grew" AS DECIMAL(38, 1)) AS "grew", COALESCE(CASE WHEN regexp_matches(json_extract_string(_item, '/burst/N'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_string(_item, '/burst/N') AS DOUBLE) END, CAST("burst" AS DOUBLE)) AS "burst", "_item_key", "_item", "_created_at_us", "_op", "_rescued", "_expired_at"
FROM iceberg_scan('s.json') AS "of state"
WHERE NOT EXISTS(SELECT 1
FROM iceberg_scan('t.json') AS "of tail"
WHERE "of tail"._item_key = "of state"._item_key)
UNION ALL SELECT "pk", "a_b", "a_b_2", "it_s", "q_q", "back_slash", "_0_", "né", "_", "ns", "bs", "grew", "burst", "_item_key", "_item", "_created_at_us", "_op", "_rescued", "_expired_at"
FROM iceberg_scan('t.json') AS "of tail"
WHERE _is_live) AS "of items"
WHERE (starts_with("pk", 'x') OR starts_with(json_extract_string(_item, '/a b/S'), 'b\ig''s') OR (("pk" IN ('a', 'b')) AND NOT coalesce(("a_b" = CAST('7' AS BIGINT)), FALSE) AND ("q_q" = TRUE) AND NOT coalesce(("it_s" IS NOT NULL OR json_extract_string(_item, '/it''s') IS NOT NULL), FALSE)))

-- orders_as_of("the moment")
SELECT json_extract_string(_item, '/pk/S') AS "pk",
CASE WHEN regexp_matches(json_extract_string(_item, '/a b/N'), '^-?0*[0-9]{1,18}([.]0*)?$') THEN TRY_CAST(TRY_CAST(json_extract_string(_item, '/a b/N') AS DECIMAL(38,0)) AS BIGINT) END AS "a_b",
CASE WHEN regexp_matches(json_extract_string(_item, '/a.b/N'), '^-?0*[0-9]{1,36}([.][0-9]{0,2}0*)?$') THEN TRY_CAST(json_extract_string(_item, '/a.b/N') AS DECIMAL(38,2)) END AS "a_b_2",
CASE WHEN regexp_matches(json_extract_string(_item, '/it''s/N'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_string(_item, '/it''s/N') AS DOUBLE) END AS "it_s",
CASE json_extract_string(_item, '/q"q/BOOL') WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END AS "q_q",
CASE WHEN regexp_matches(json_extract_string(_item, '/back\slash/B'), '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN from_base64(json_extract_string(_item, '/back\slash/B')) END AS "back_slash",
CASE WHEN starts_with(json_extract_string(_item, '/[0]'), '{"M":') THEN json_extract_string(_item, '/[0]') END AS "_0_",
CASE WHEN starts_with(json_extract_string(_item, '/né'), '{"L":') THEN json_extract_string(_item, '/né') END AS "né", list_sort(TRY(from_json(json_extract_string(_item, '/*/SS'), '["VARCHAR"]'))) AS "_",
CASE WHEN len(list_filter(TRY(from_json(json_extract_string(_item, '/ns/NS'), '["VARCHAR"]')), lambda e: NOT regexp_matches(e, '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$'))) = 0 THEN list_sort(list_transform(TRY(from_json(json_extract_string(_item, '/ns/NS'), '["VARCHAR"]')), lambda e:
CASE WHEN regexp_matches(e, '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN TRY_CAST(e AS DECIMAL(38,1)) END)) END AS "ns",
CASE WHEN len(list_filter(TRY(from_json(json_extract_string(_item, '/bs/BS'), '["VARCHAR"]')), lambda e: NOT regexp_matches(e, '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'))) = 0 THEN list_sort(list_transform(TRY(from_json(json_extract_string(_item, '/bs/BS'), '["VARCHAR"]')), lambda e:
CASE WHEN regexp_matches(e, '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN from_base64(e) END)) END AS "bs",
CASE WHEN regexp_matches(json_extract_string(_item, '/grew/N'), '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN TRY_CAST(json_extract_string(_item, '/grew/N') AS DECIMAL(38,1)) END AS "grew",
CASE WHEN regexp_matches(json_extract_string(_item, '/burst/N'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_string(_item, '/burst/N') AS DOUBLE) END AS "burst", "_item_key", "_item", "_created_at_us", "_op", "_expired_at"
FROM (SELECT *
FROM (SELECT item_key AS _item_key, new_image AS _item, created_at_us AS _created_at_us, op AS _op, CAST(NULL AS TIMESTAMP) AS _expired_at
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item_key ORDER BY
CASE WHEN source = 'stream' THEN 1 ELSE 0 END DESC,
CASE WHEN _more > 0 THEN 1 ELSE 0 END DESC, created_at_us DESC, event_id DESC) AS _rank
FROM (SELECT *, SUM(_way) OVER (PARTITION BY item_key, _vertex) AS _more
FROM (SELECT *,
CASE WHEN source <> 'stream' THEN NULL WHEN _way = 1 THEN
CASE WHEN op = 'REMOVE' OR new_image IS NULL THEN '' ELSE new_image END WHEN NOT old_image IS NULL THEN old_image WHEN op = 'INSERT' THEN '' ELSE 'before ' || event_id END AS _vertex
FROM (SELECT *, COUNT(CASE WHEN created_at_us % 1000 = 0 THEN 1 END) OVER (PARTITION BY item_key) AS _whole
FROM (SELECT item_key, op, event_time, created_at_us, event_id, is_ttl, source, new_image, old_image, _last
FROM iceberg_scan('l.json') AS c JOIN (SELECT item_key AS _key, MAX(created_at_us) AS _last
FROM iceberg_scan('l.json') AS c
WHERE event_time <= CAST("the moment" AS TIMESTAMP) + INTERVAL '1' SECOND AND created_at_us <= epoch_us(CAST("the moment" AS TIMESTAMP)) AND NOT (op = 'READ' AND STRPOS(raw_object, '/raw/backfill/table=orders/r/') > 0 AND epoch_us(CAST("the moment" AS TIMESTAMP)) < 1800000000000000) GROUP BY item_key) AS n ON item_key = _key
WHERE event_time <= CAST("the moment" AS TIMESTAMP) + INTERVAL '1' SECOND AND created_at_us <= epoch_us(CAST("the moment" AS TIMESTAMP)) AND NOT (op = 'READ' AND STRPOS(raw_object, '/raw/backfill/table=orders/r/') > 0 AND epoch_us(CAST("the moment" AS TIMESTAMP)) < 1800000000000000) AND created_at_us >= _last - _last % 1000) AS t) AS t CROSS JOIN (SELECT 1 AS _way
UNION ALL SELECT -1) AS w
WHERE _whole > 0 OR created_at_us = _last) AS b) AS b
WHERE _way = 1) AS w
WHERE _rank = 1) AS l
WHERE (_op <> 'REMOVE' OR NOT _expired_at IS NULL)) AS i
UNION ALL SELECT CAST(NULL AS TEXT) AS "pk", CAST(NULL AS BIGINT) AS "a_b", CAST(NULL AS DECIMAL(38, 2)) AS "a_b_2", CAST(NULL AS DOUBLE) AS "it_s", CAST(NULL AS BOOLEAN) AS "q_q", CAST(NULL AS BLOB) AS "back_slash", CAST(NULL AS TEXT) AS "_0_", CAST(NULL AS TEXT) AS "né", CAST(NULL AS TEXT[]) AS "_", CAST(NULL AS DECIMAL(38, 1)[]) AS "ns", CAST(NULL AS BLOB[]) AS "bs", CAST(NULL AS DECIMAL(38, 1)) AS "grew", CAST(NULL AS DOUBLE) AS "burst", CAST(NULL AS TEXT) AS "_item_key", CAST(NULL AS TEXT) AS "_item", CAST(NULL AS BIGINT) AS "_created_at_us", CAST(NULL AS TEXT) AS "_op", CAST(NULL AS TIMESTAMP) AS "_expired_at"
FROM (SELECT
CASE WHEN COALESCE(epoch_us(CAST("the moment" AS TIMESTAMP)) >= 1700000000000000, 1 = 0) THEN NULL ELSE CAST(error('orders as of then: the past of orders is not known at that instant, for it''s so') AS VARCHAR) END AS _why) AS r
WHERE NOT _why IS NULL

-- orders_history(key_0, key_1)
SELECT "item_key", "pk", "op", "event_time", "created_at_us", "event_id", "is_ttl", "new_image", "old_image"
FROM iceberg_scan('l.json') AS l
WHERE "pk" = CAST(key_0 AS VARCHAR) AND "sk" = CAST(key_1 AS VARCHAR) ORDER BY created_at_us, event_id

-- orders_transitions("the attribute")
SELECT item_key AS _item_key, "pk", "sk", coalesce(json_extract_string(__from, '/S'), json_extract_string(__from, '/N'), json_extract_string(__from, '/B'), __from) AS from_value, coalesce(json_extract_string(__new, '/S'), json_extract_string(__new, '/N'), json_extract_string(__new, '/B'), __new) AS to_value, event_time AS changed_at, created_at_us - LAG(created_at_us) OVER (PARTITION BY item_key ORDER BY __n) AS lasted_us, op, event_id
FROM (SELECT *,
CASE WHEN __n = 1 THEN __was ELSE __before END AS __from
FROM (SELECT *, LAG(__new) OVER (PARTITION BY item_key ORDER BY created_at_us, event_id) AS __before, ROW_NUMBER() OVER (PARTITION BY item_key ORDER BY created_at_us, event_id) AS __n
FROM (SELECT item_key, "pk", "sk", op, event_time, created_at_us, event_id, __was,
CASE WHEN op <> 'REMOVE' THEN __came END AS __new
FROM (SELECT *, CAST(json_extract(new_image, '/' || replace(replace(__attribute, '~', '~0'), '/', '~1')) AS VARCHAR) AS __came, CAST(json_extract(old_image, '/' || replace(replace(__attribute, '~', '~0'), '/', '~1')) AS VARCHAR) AS __was
FROM (SELECT *, CAST("the attribute" AS VARCHAR) AS __attribute
FROM iceberg_scan('l.json') AS c) AS c) AS c) AS c) AS c) AS c
WHERE NOT (__n = 1 AND op = 'READ') AND __from IS DISTINCT
FROM __new

-- orders_diff("the first moment", "the second moment")
SELECT _item_key, json_extract_string(_item, '/pk/S') AS "pk",
CASE WHEN regexp_matches(json_extract_string(_item, '/a b/N'), '^-?0*[0-9]{1,18}([.]0*)?$') THEN TRY_CAST(TRY_CAST(json_extract_string(_item, '/a b/N') AS DECIMAL(38,0)) AS BIGINT) END AS "a_b", difference, "before", "after"
FROM (SELECT COALESCE(b._item_key, a._item_key) AS _item_key, COALESCE(a._item, b._item) AS _item,
CASE WHEN b._item IS NULL THEN 'added' WHEN a._item IS NULL THEN 'removed' ELSE 'changed' END AS difference, b._item AS "before", a._item AS "after"
FROM (SELECT *
FROM (SELECT item_key AS _item_key, new_image AS _item, created_at_us AS _created_at_us, op AS _op, CAST(NULL AS TIMESTAMP) AS _expired_at
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item_key ORDER BY
CASE WHEN source = 'stream' THEN 1 ELSE 0 END DESC,
CASE WHEN _more > 0 THEN 1 ELSE 0 END DESC, created_at_us DESC, event_id DESC) AS _rank
FROM (SELECT *, SUM(_way) OVER (PARTITION BY item_key, _vertex) AS _more
FROM (SELECT *,
CASE WHEN source <> 'stream' THEN NULL WHEN _way = 1 THEN
CASE WHEN op = 'REMOVE' OR new_image IS NULL THEN '' ELSE new_image END WHEN NOT old_image IS NULL THEN old_image WHEN op = 'INSERT' THEN '' ELSE 'before ' || event_id END AS _vertex
FROM (SELECT *, COUNT(CASE WHEN created_at_us % 1000 = 0 THEN 1 END) OVER (PARTITION BY item_key) AS _whole
FROM (SELECT item_key, op, event_time, created_at_us, event_id, is_ttl, source, new_image, old_image, _last
FROM iceberg_scan('l.json') AS c JOIN (SELECT item_key AS _key, MAX(created_at_us) AS _last
FROM iceberg_scan('l.json') AS c
WHERE event_time <= CAST("the first moment" AS TIMESTAMP) + INTERVAL '1' SECOND AND created_at_us <= epoch_us(CAST("the first moment" AS TIMESTAMP)) AND NOT (op = 'READ' AND STRPOS(raw_object, '/raw/backfill/table=orders/r/') > 0 AND epoch_us(CAST("the first moment" AS TIMESTAMP)) < 1800000000000000) GROUP BY item_key) AS n ON item_key = _key
WHERE event_time <= CAST("the first moment" AS TIMESTAMP) + INTERVAL '1' SECOND AND created_at_us <= epoch_us(CAST("the first moment" AS TIMESTAMP)) AND NOT (op = 'READ' AND STRPOS(raw_object, '/raw/backfill/table=orders/r/') > 0 AND epoch_us(CAST("the first moment" AS TIMESTAMP)) < 1800000000000000) AND created_at_us >= _last - _last % 1000) AS t) AS t CROSS JOIN (SELECT 1 AS _way
UNION ALL SELECT -1) AS w
WHERE _whole > 0 OR created_at_us = _last) AS b) AS b
WHERE _way = 1) AS w
WHERE _rank = 1) AS l
WHERE (_op <> 'REMOVE' OR NOT _expired_at IS NULL)) AS b FULL JOIN (SELECT *
FROM (SELECT item_key AS _item_key, new_image AS _item, created_at_us AS _created_at_us, op AS _op, CAST(NULL AS TIMESTAMP) AS _expired_at
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item_key ORDER BY
CASE WHEN source = 'stream' THEN 1 ELSE 0 END DESC,
CASE WHEN _more > 0 THEN 1 ELSE 0 END DESC, created_at_us DESC, event_id DESC) AS _rank
FROM (SELECT *, SUM(_way) OVER (PARTITION BY item_key, _vertex) AS _more
FROM (SELECT *,
CASE WHEN source <> 'stream' THEN NULL WHEN _way = 1 THEN
CASE WHEN op = 'REMOVE' OR new_image IS NULL THEN '' ELSE new_image END WHEN NOT old_image IS NULL THEN old_image WHEN op = 'INSERT' THEN '' ELSE 'before ' || event_id END AS _vertex
FROM (SELECT *, COUNT(CASE WHEN created_at_us % 1000 = 0 THEN 1 END) OVER (PARTITION BY item_key) AS _whole
FROM (SELECT item_key, op, event_time, created_at_us, event_id, is_ttl, source, new_image, old_image, _last
FROM iceberg_scan('l.json') AS c JOIN (SELECT item_key AS _key, MAX(created_at_us) AS _last
FROM iceberg_scan('l.json') AS c
WHERE event_time <= CAST("the second moment" AS TIMESTAMP) + INTERVAL '1' SECOND AND created_at_us <= epoch_us(CAST("the second moment" AS TIMESTAMP)) AND NOT (op = 'READ' AND STRPOS(raw_object, '/raw/backfill/table=orders/r/') > 0 AND epoch_us(CAST("the second moment" AS TIMESTAMP)) < 1800000000000000) GROUP BY item_key) AS n ON item_key = _key
WHERE event_time <= CAST("the second moment" AS TIMESTAMP) + INTERVAL '1' SECOND AND created_at_us <= epoch_us(CAST("the second moment" AS TIMESTAMP)) AND NOT (op = 'READ' AND STRPOS(raw_object, '/raw/backfill/table=orders/r/') > 0 AND epoch_us(CAST("the second moment" AS TIMESTAMP)) < 1800000000000000) AND created_at_us >= _last - _last % 1000) AS t) AS t CROSS JOIN (SELECT 1 AS _way
UNION ALL SELECT -1) AS w
WHERE _whole > 0 OR created_at_us = _last) AS b) AS b
WHERE _way = 1) AS w
WHERE _rank = 1) AS l
WHERE (_op <> 'REMOVE' OR NOT _expired_at IS NULL)) AS a ON a._item_key = b._item_key
WHERE b._item IS NULL OR a._item IS NULL OR a._item <> b._item) AS d
UNION ALL SELECT CAST(NULL AS TEXT) AS "_item_key", CAST(NULL AS TEXT) AS "pk", CAST(NULL AS BIGINT) AS "a_b", CAST(NULL AS TEXT) AS "difference", CAST(NULL AS TEXT) AS "before", CAST(NULL AS TEXT) AS "after"
FROM (SELECT
CASE WHEN COALESCE(epoch_us(CAST("the first moment" AS TIMESTAMP)) >= 1700000000000000, 1 = 0) THEN NULL ELSE CAST(error('orders as of then: the past of orders is not known at that instant, for it''s so') AS VARCHAR) END AS _why) AS r
WHERE NOT _why IS NULL
UNION ALL SELECT CAST(NULL AS TEXT) AS "_item_key", CAST(NULL AS TEXT) AS "pk", CAST(NULL AS BIGINT) AS "a_b", CAST(NULL AS TEXT) AS "difference", CAST(NULL AS TEXT) AS "before", CAST(NULL AS TEXT) AS "after"
FROM (SELECT
CASE WHEN COALESCE(epoch_us(CAST("the second moment" AS TIMESTAMP)) >= 1700000000000000, 1 = 0) THEN NULL ELSE CAST(error('orders as of then: the past of orders is not known at that instant, for it''s so') AS VARCHAR) END AS _why) AS r
WHERE NOT _why IS NULL


-- orders
SELECT "pk", "a_b", "a_b_2", "it_s", "q_q", "back_slash", "_0_", "né", "_", "ns", CAST(NULL AS ARRAY(VARBINARY)) AS "bs", CAST("grew" AS DECIMAL(38, 1)) AS "grew", COALESCE(CASE WHEN regexp_like(json_extract_scalar(_item, '$["burst"]["N"]'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_scalar(_item, '$["burst"]["N"]') AS DOUBLE) END, CAST("burst" AS DOUBLE)) AS "burst", "_item_key", "_hash_key", "_item", "_created_at_us", "_op", "_rescued", "_expired_at"
FROM "db"."orders" FOR VERSION AS OF 7 AS "of state"
WHERE NOT EXISTS(SELECT 1
FROM "db"."orders_tail" FOR VERSION AS OF 7 AS "of tail"
WHERE "of tail"._item_key = "of state"._item_key)
UNION ALL SELECT "pk", "a_b", "a_b_2", "it_s", "q_q", "back_slash", "_0_", "né", "_", "ns", "bs", "grew", "burst", "_item_key", "_hash_key", "_item", "_created_at_us", "_op", "_rescued", "_expired_at"
FROM "db"."orders_tail" FOR VERSION AS OF 7 AS "of tail"
WHERE _is_live

-- orders_changes
SELECT "item_key", "pk", "op", "event_time", "created_at_us", "event_id", "is_ttl", "new_image", "old_image", json_extract_scalar(new_image, '$["pk"]["S"]') AS "new_pk",
CASE WHEN regexp_like(json_extract_scalar(new_image, '$["a b"]["N"]'), '^-?0*[0-9]{1,18}([.]0*)?$') THEN TRY_CAST(TRY_CAST(json_extract_scalar(new_image, '$["a b"]["N"]') AS DECIMAL(38,0)) AS BIGINT) END AS "new_a_b",
CASE WHEN regexp_like(json_extract_scalar(new_image, '$["a.b"]["N"]'), '^-?0*[0-9]{1,36}([.][0-9]{0,2}0*)?$') THEN TRY_CAST(json_extract_scalar(new_image, '$["a.b"]["N"]') AS DECIMAL(38,2)) END AS "new_a_b_2",
CASE WHEN regexp_like(json_extract_scalar(json_format(element_at(CAST(json_parse(new_image) AS MAP(VARCHAR, JSON)), 'it''s')), '$.N'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_scalar(json_format(element_at(CAST(json_parse(new_image) AS MAP(VARCHAR, JSON)), 'it''s')), '$.N') AS DOUBLE) END AS "new_it_s",
CASE json_extract_scalar(new_image, '$["q\"q"]["BOOL"]') WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END AS "new_q_q",
CASE WHEN regexp_like(json_extract_scalar(json_format(element_at(CAST(json_parse(new_image) AS MAP(VARCHAR, JSON)), 'back\slash')), '$.B'), '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN from_base64(json_extract_scalar(json_format(element_at(CAST(json_parse(new_image) AS MAP(VARCHAR, JSON)), 'back\slash')), '$.B')) END AS "new_back_slash",
CASE WHEN starts_with(json_format(json_extract(new_image, '$["[0]"]')), '{"M":') THEN json_format(json_extract(new_image, '$["[0]"]')) END AS "new__0_",
CASE WHEN starts_with(json_format(json_extract(new_image, '$["né"]')), '{"L":') THEN json_format(json_extract(new_image, '$["né"]')) END AS "new_né", array_sort(TRY_CAST(json_extract(json_format(element_at(CAST(json_parse(new_image) AS MAP(VARCHAR, JSON)), '*')), '$.SS') AS ARRAY(VARCHAR))) AS "new__",
CASE WHEN all_match(TRY_CAST(json_extract(new_image, '$["ns"]["NS"]') AS ARRAY(VARCHAR)), e -> regexp_like(e, '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$')) THEN array_sort(transform(TRY_CAST(json_extract(new_image, '$["ns"]["NS"]') AS ARRAY(VARCHAR)), e ->
CASE WHEN regexp_like(e, '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN TRY_CAST(e AS DECIMAL(38,1)) END)) END AS "new_ns",
CASE WHEN all_match(TRY_CAST(json_extract(new_image, '$["bs"]["BS"]') AS ARRAY(VARCHAR)), e -> regexp_like(e, '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$')) THEN array_sort(transform(TRY_CAST(json_extract(new_image, '$["bs"]["BS"]') AS ARRAY(VARCHAR)), e ->
CASE WHEN regexp_like(e, '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN from_base64(e) END)) END AS "new_bs",
CASE WHEN regexp_like(json_extract_scalar(new_image, '$["grew"]["N"]'), '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN TRY_CAST(json_extract_scalar(new_image, '$["grew"]["N"]') AS DECIMAL(38,1)) END AS "new_grew",
CASE WHEN regexp_like(json_extract_scalar(new_image, '$["burst"]["N"]'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_scalar(new_image, '$["burst"]["N"]') AS DOUBLE) END AS "new_burst", json_extract_scalar(old_image, '$["pk"]["S"]') AS "old_pk",
CASE WHEN regexp_like(json_extract_scalar(old_image, '$["a b"]["N"]'), '^-?0*[0-9]{1,18}([.]0*)?$') THEN TRY_CAST(TRY_CAST(json_extract_scalar(old_image, '$["a b"]["N"]') AS DECIMAL(38,0)) AS BIGINT) END AS "old_a_b",
CASE WHEN regexp_like(json_extract_scalar(old_image, '$["a.b"]["N"]'), '^-?0*[0-9]{1,36}([.][0-9]{0,2}0*)?$') THEN TRY_CAST(json_extract_scalar(old_image, '$["a.b"]["N"]') AS DECIMAL(38,2)) END AS "old_a_b_2",
CASE WHEN regexp_like(json_extract_scalar(json_format(element_at(CAST(json_parse(old_image) AS MAP(VARCHAR, JSON)), 'it''s')), '$.N'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_scalar(json_format(element_at(CAST(json_parse(old_image) AS MAP(VARCHAR, JSON)), 'it''s')), '$.N') AS DOUBLE) END AS "old_it_s",
CASE json_extract_scalar(old_image, '$["q\"q"]["BOOL"]') WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END AS "old_q_q",
CASE WHEN regexp_like(json_extract_scalar(json_format(element_at(CAST(json_parse(old_image) AS MAP(VARCHAR, JSON)), 'back\slash')), '$.B'), '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN from_base64(json_extract_scalar(json_format(element_at(CAST(json_parse(old_image) AS MAP(VARCHAR, JSON)), 'back\slash')), '$.B')) END AS "old_back_slash",
CASE WHEN starts_with(json_format(json_extract(old_image, '$["[0]"]')), '{"M":') THEN json_format(json_extract(old_image, '$["[0]"]')) END AS "old__0_",
CASE WHEN starts_with(json_format(json_extract(old_image, '$["né"]')), '{"L":') THEN json_format(json_extract(old_image, '$["né"]')) END AS "old_né", array_sort(TRY_CAST(json_extract(json_format(element_at(CAST(json_parse(old_image) AS MAP(VARCHAR, JSON)), '*')), '$.SS') AS ARRAY(VARCHAR))) AS "old__",
CASE WHEN all_match(TRY_CAST(json_extract(old_image, '$["ns"]["NS"]') AS ARRAY(VARCHAR)), e -> regexp_like(e, '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$')) THEN array_sort(transform(TRY_CAST(json_extract(old_image, '$["ns"]["NS"]') AS ARRAY(VARCHAR)), e ->
CASE WHEN regexp_like(e, '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN TRY_CAST(e AS DECIMAL(38,1)) END)) END AS "old_ns",
CASE WHEN all_match(TRY_CAST(json_extract(old_image, '$["bs"]["BS"]') AS ARRAY(VARCHAR)), e -> regexp_like(e, '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$')) THEN array_sort(transform(TRY_CAST(json_extract(old_image, '$["bs"]["BS"]') AS ARRAY(VARCHAR)), e ->
CASE WHEN regexp_like(e, '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN from_base64(e) END)) END AS "old_bs",
CASE WHEN regexp_like(json_extract_scalar(old_image, '$["grew"]["N"]'), '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN TRY_CAST(json_extract_scalar(old_image, '$["grew"]["N"]') AS DECIMAL(38,1)) END AS "old_grew",
CASE WHEN regexp_like(json_extract_scalar(old_image, '$["burst"]["N"]'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_scalar(old_image, '$["burst"]["N"]') AS DOUBLE) END AS "old_burst"
FROM "db"."orders_changes" FOR VERSION AS OF 7 AS l

-- orders_big
SELECT "pk", "a_b", coalesce(json_extract_scalar(_item, '$["x y"]["S"]'), json_extract_scalar(_item, '$["x y"]["N"]')) AS "x_y", "_item_key", "_item", "_created_at_us", "_op", "_rescued", "_expired_at"
FROM (SELECT "pk", "a_b", "a_b_2", "it_s", "q_q", "back_slash", "_0_", "né", "_", "ns", CAST(NULL AS ARRAY(VARBINARY)) AS "bs", CAST("grew" AS DECIMAL(38, 1)) AS "grew", COALESCE(CASE WHEN regexp_like(json_extract_scalar(_item, '$["burst"]["N"]'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_scalar(_item, '$["burst"]["N"]') AS DOUBLE) END, CAST("burst" AS DOUBLE)) AS "burst", "_item_key", "_hash_key", "_item", "_created_at_us", "_op", "_rescued", "_expired_at"
FROM "db"."orders" FOR VERSION AS OF 7 AS "of state"
WHERE NOT EXISTS(SELECT 1
FROM "db"."orders_tail" FOR VERSION AS OF 7 AS "of tail"
WHERE "of tail"._item_key = "of state"._item_key)
UNION ALL SELECT "pk", "a_b", "a_b_2", "it_s", "q_q", "back_slash", "_0_", "né", "_", "ns", "bs", "grew", "burst", "_item_key", "_hash_key", "_item", "_created_at_us", "_op", "_rescued", "_expired_at"
FROM "db"."orders_tail" FOR VERSION AS OF 7 AS "of tail"
WHERE _is_live) AS "of items"
WHERE (starts_with("pk", 'x') OR starts_with(json_extract_scalar(_item, '$["a b"]["S"]'), 'b\ig''s') OR (("pk" IN ('a', 'b')) AND NOT coalesce(("a_b" = CAST('7' AS BIGINT)), FALSE) AND ("q_q" = TRUE) AND NOT coalesce(("it_s" IS NOT NULL OR json_format(element_at(CAST(json_parse(_item) AS MAP(VARCHAR, JSON)), 'it''s')) IS NOT NULL), FALSE)))

-- orders_as_of(moment)
WITH "given moment" AS (SELECT CAST(? AS TIMESTAMP(6)) AS given) SELECT json_extract_scalar(_item, '$["pk"]["S"]') AS "pk",
CASE WHEN regexp_like(json_extract_scalar(_item, '$["a b"]["N"]'), '^-?0*[0-9]{1,18}([.]0*)?$') THEN TRY_CAST(TRY_CAST(json_extract_scalar(_item, '$["a b"]["N"]') AS DECIMAL(38,0)) AS BIGINT) END AS "a_b",
CASE WHEN regexp_like(json_extract_scalar(_item, '$["a.b"]["N"]'), '^-?0*[0-9]{1,36}([.][0-9]{0,2}0*)?$') THEN TRY_CAST(json_extract_scalar(_item, '$["a.b"]["N"]') AS DECIMAL(38,2)) END AS "a_b_2",
CASE WHEN regexp_like(json_extract_scalar(json_format(element_at(CAST(json_parse(_item) AS MAP(VARCHAR, JSON)), 'it''s')), '$.N'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_scalar(json_format(element_at(CAST(json_parse(_item) AS MAP(VARCHAR, JSON)), 'it''s')), '$.N') AS DOUBLE) END AS "it_s",
CASE json_extract_scalar(_item, '$["q\"q"]["BOOL"]') WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END AS "q_q",
CASE WHEN regexp_like(json_extract_scalar(json_format(element_at(CAST(json_parse(_item) AS MAP(VARCHAR, JSON)), 'back\slash')), '$.B'), '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN from_base64(json_extract_scalar(json_format(element_at(CAST(json_parse(_item) AS MAP(VARCHAR, JSON)), 'back\slash')), '$.B')) END AS "back_slash",
CASE WHEN starts_with(json_format(json_extract(_item, '$["[0]"]')), '{"M":') THEN json_format(json_extract(_item, '$["[0]"]')) END AS "_0_",
CASE WHEN starts_with(json_format(json_extract(_item, '$["né"]')), '{"L":') THEN json_format(json_extract(_item, '$["né"]')) END AS "né", array_sort(TRY_CAST(json_extract(json_format(element_at(CAST(json_parse(_item) AS MAP(VARCHAR, JSON)), '*')), '$.SS') AS ARRAY(VARCHAR))) AS "_",
CASE WHEN all_match(TRY_CAST(json_extract(_item, '$["ns"]["NS"]') AS ARRAY(VARCHAR)), e -> regexp_like(e, '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$')) THEN array_sort(transform(TRY_CAST(json_extract(_item, '$["ns"]["NS"]') AS ARRAY(VARCHAR)), e ->
CASE WHEN regexp_like(e, '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN TRY_CAST(e AS DECIMAL(38,1)) END)) END AS "ns",
CASE WHEN all_match(TRY_CAST(json_extract(_item, '$["bs"]["BS"]') AS ARRAY(VARCHAR)), e -> regexp_like(e, '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$')) THEN array_sort(transform(TRY_CAST(json_extract(_item, '$["bs"]["BS"]') AS ARRAY(VARCHAR)), e ->
CASE WHEN regexp_like(e, '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN from_base64(e) END)) END AS "bs",
CASE WHEN regexp_like(json_extract_scalar(_item, '$["grew"]["N"]'), '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN TRY_CAST(json_extract_scalar(_item, '$["grew"]["N"]') AS DECIMAL(38,1)) END AS "grew",
CASE WHEN regexp_like(json_extract_scalar(_item, '$["burst"]["N"]'), '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') THEN TRY_CAST(json_extract_scalar(_item, '$["burst"]["N"]') AS DOUBLE) END AS "burst", "_item_key", "_hash_key", "_item", "_created_at_us", "_op", "_expired_at"
FROM (SELECT *
FROM (SELECT item_key AS _item_key, _hash_key, new_image AS _item, created_at_us AS _created_at_us, op AS _op, CAST(NULL AS TIMESTAMP) AS _expired_at
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item_key ORDER BY COALESCE(sequence_number, '') DESC, event_id DESC) AS _rank
FROM (SELECT item_key, op, event_time, created_at_us, event_id, is_ttl, source, new_image, old_image, TO_BASE64("pk") AS _hash_key, sequence_number, _last
FROM "db"."orders_changes" FOR VERSION AS OF 7 AS c JOIN (SELECT item_key AS _key, MAX(created_at_us) AS _last
FROM "db"."orders_changes" FOR VERSION AS OF 7 AS c
WHERE event_time <= (SELECT given
FROM "given moment") + INTERVAL '1' SECOND AND created_at_us <= (SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given moment") AND NOT (op = 'READ' AND STRPOS(raw_object, '/raw/backfill/table=orders/r/') > 0 AND (SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given moment") < 1800000000000000) GROUP BY item_key) AS n ON item_key = _key
WHERE event_time <= (SELECT given
FROM "given moment") + INTERVAL '1' SECOND AND created_at_us <= (SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given moment") AND NOT (op = 'READ' AND STRPOS(raw_object, '/raw/backfill/table=orders/r/') > 0 AND (SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given moment") < 1800000000000000) AND created_at_us >= _last) AS t) AS w
WHERE _rank = 1) AS l
WHERE (_op <> 'REMOVE' OR NOT _expired_at IS NULL)) AS i
UNION ALL SELECT CAST(NULL AS VARCHAR) AS "pk", CAST(NULL AS BIGINT) AS "a_b", CAST(NULL AS DECIMAL(38, 2)) AS "a_b_2", CAST(NULL AS DOUBLE) AS "it_s", CAST(NULL AS BOOLEAN) AS "q_q", CAST(NULL AS VARBINARY) AS "back_slash", CAST(NULL AS VARCHAR) AS "_0_", CAST(NULL AS VARCHAR) AS "né", CAST(NULL AS ARRAY(VARCHAR)) AS "_", CAST(NULL AS ARRAY(DECIMAL(38, 1))) AS "ns", CAST(NULL AS ARRAY(VARBINARY)) AS "bs", CAST(NULL AS DECIMAL(38, 1)) AS "grew", CAST(NULL AS DOUBLE) AS "burst", CAST(NULL AS VARCHAR) AS "_item_key", CAST(NULL AS VARCHAR) AS "_hash_key", CAST(NULL AS VARCHAR) AS "_item", CAST(NULL AS BIGINT) AS "_created_at_us", CAST(NULL AS VARCHAR) AS "_op", CAST(NULL AS TIMESTAMP) AS "_expired_at"
FROM (SELECT
CASE WHEN COALESCE((SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given moment") >= 1700000000000000, 1 = 0) THEN NULL ELSE CAST(fail('orders as of then: the past of orders is not known at that instant, for it''s so') AS VARCHAR) END AS _why) AS r
WHERE NOT _why IS NULL

-- orders_history(key_0)
WITH "given key_0" AS (SELECT CAST(? AS VARCHAR) AS given) SELECT "item_key", "pk", "op", "event_time", "created_at_us", "event_id", "is_ttl", "new_image", "old_image"
FROM "db"."orders_changes" FOR VERSION AS OF 7 AS l
WHERE "pk" = (SELECT from_base64(given)
FROM "given key_0") ORDER BY created_at_us, COALESCE(sequence_number, ''), event_id

-- orders_transitions(attribute)
WITH "given attribute" AS (SELECT CAST(? AS VARCHAR) AS given) SELECT item_key AS _item_key, "pk", coalesce(json_extract_scalar(__from, '$.S'), json_extract_scalar(__from, '$.N'), json_extract_scalar(__from, '$.B'), __from) AS from_value, coalesce(json_extract_scalar(__new, '$.S'), json_extract_scalar(__new, '$.N'), json_extract_scalar(__new, '$.B'), __new) AS to_value, event_time AS changed_at, created_at_us - LAG(created_at_us) OVER (PARTITION BY item_key ORDER BY __n) AS lasted_us, op, event_id
FROM (SELECT *,
CASE WHEN __n = 1 THEN __was ELSE __before END AS __from
FROM (SELECT *, LAG(__new) OVER (PARTITION BY item_key ORDER BY created_at_us, COALESCE(sequence_number, ''), event_id) AS __before, ROW_NUMBER() OVER (PARTITION BY item_key ORDER BY created_at_us, COALESCE(sequence_number, ''), event_id) AS __n
FROM (SELECT item_key, "pk", op, event_time, created_at_us, event_id, sequence_number, __was,
CASE WHEN op <> 'REMOVE' THEN __came END AS __new
FROM (SELECT *, json_format(element_at(CAST(json_parse(new_image) AS MAP(VARCHAR, JSON)), __attribute)) AS __came, json_format(element_at(CAST(json_parse(old_image) AS MAP(VARCHAR, JSON)), __attribute)) AS __was
FROM (SELECT *, (SELECT given
FROM "given attribute") AS __attribute
FROM "db"."orders_changes" FOR VERSION AS OF 7 AS c) AS c) AS c) AS c) AS c) AS c
WHERE NOT (__n = 1 AND op = 'READ') AND __from IS DISTINCT
FROM __new

-- orders_diff(first_moment, second_moment)
WITH "given first_moment" AS (SELECT CAST(? AS TIMESTAMP(6)) AS given), "given second_moment" AS (SELECT CAST(? AS TIMESTAMP(6)) AS given) SELECT _item_key, json_extract_scalar(_item, '$["pk"]["S"]') AS "pk", difference, "before", "after"
FROM (SELECT COALESCE(b._item_key, a._item_key) AS _item_key, COALESCE(a._item, b._item) AS _item,
CASE WHEN b._item IS NULL THEN 'added' WHEN a._item IS NULL THEN 'removed' ELSE 'changed' END AS difference, b._item AS "before", a._item AS "after"
FROM (SELECT *
FROM (SELECT item_key AS _item_key, _hash_key, new_image AS _item, created_at_us AS _created_at_us, op AS _op, CAST(NULL AS TIMESTAMP) AS _expired_at
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item_key ORDER BY COALESCE(sequence_number, '') DESC, event_id DESC) AS _rank
FROM (SELECT item_key, op, event_time, created_at_us, event_id, is_ttl, source, new_image, old_image, TO_BASE64("pk") AS _hash_key, sequence_number, _last
FROM "db"."orders_changes" FOR VERSION AS OF 7 AS c JOIN (SELECT item_key AS _key, MAX(created_at_us) AS _last
FROM "db"."orders_changes" FOR VERSION AS OF 7 AS c
WHERE event_time <= (SELECT given
FROM "given first_moment") + INTERVAL '1' SECOND AND created_at_us <= (SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given first_moment") AND NOT (op = 'READ' AND STRPOS(raw_object, '/raw/backfill/table=orders/r/') > 0 AND (SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given first_moment") < 1800000000000000) GROUP BY item_key) AS n ON item_key = _key
WHERE event_time <= (SELECT given
FROM "given first_moment") + INTERVAL '1' SECOND AND created_at_us <= (SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given first_moment") AND NOT (op = 'READ' AND STRPOS(raw_object, '/raw/backfill/table=orders/r/') > 0 AND (SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given first_moment") < 1800000000000000) AND created_at_us >= _last) AS t) AS w
WHERE _rank = 1) AS l
WHERE (_op <> 'REMOVE' OR NOT _expired_at IS NULL)) AS b FULL JOIN (SELECT *
FROM (SELECT item_key AS _item_key, _hash_key, new_image AS _item, created_at_us AS _created_at_us, op AS _op, CAST(NULL AS TIMESTAMP) AS _expired_at
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item_key ORDER BY COALESCE(sequence_number, '') DESC, event_id DESC) AS _rank
FROM (SELECT item_key, op, event_time, created_at_us, event_id, is_ttl, source, new_image, old_image, TO_BASE64("pk") AS _hash_key, sequence_number, _last
FROM "db"."orders_changes" FOR VERSION AS OF 7 AS c JOIN (SELECT item_key AS _key, MAX(created_at_us) AS _last
FROM "db"."orders_changes" FOR VERSION AS OF 7 AS c
WHERE event_time <= (SELECT given
FROM "given second_moment") + INTERVAL '1' SECOND AND created_at_us <= (SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given second_moment") AND NOT (op = 'READ' AND STRPOS(raw_object, '/raw/backfill/table=orders/r/') > 0 AND (SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given second_moment") < 1800000000000000) GROUP BY item_key) AS n ON item_key = _key
WHERE event_time <= (SELECT given
FROM "given second_moment") + INTERVAL '1' SECOND AND created_at_us <= (SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given second_moment") AND NOT (op = 'READ' AND STRPOS(raw_object, '/raw/backfill/table=orders/r/') > 0 AND (SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given second_moment") < 1800000000000000) AND created_at_us >= _last) AS t) AS w
WHERE _rank = 1) AS l
WHERE (_op <> 'REMOVE' OR NOT _expired_at IS NULL)) AS a ON a._item_key = b._item_key
WHERE b._item IS NULL OR a._item IS NULL OR a._item <> b._item) AS d
UNION ALL SELECT CAST(NULL AS VARCHAR) AS "_item_key", CAST(NULL AS VARCHAR) AS "pk", CAST(NULL AS VARCHAR) AS "difference", CAST(NULL AS VARCHAR) AS "before", CAST(NULL AS VARCHAR) AS "after"
FROM (SELECT
CASE WHEN COALESCE((SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given first_moment") >= 1700000000000000, 1 = 0) THEN NULL ELSE CAST(fail('orders as of then: the past of orders is not known at that instant, for it''s so') AS VARCHAR) END AS _why) AS r
WHERE NOT _why IS NULL
UNION ALL SELECT CAST(NULL AS VARCHAR) AS "_item_key", CAST(NULL AS VARCHAR) AS "pk", CAST(NULL AS VARCHAR) AS "difference", CAST(NULL AS VARCHAR) AS "before", CAST(NULL AS VARCHAR) AS "after"
FROM (SELECT
CASE WHEN COALESCE((SELECT CAST(round(to_unixtime(given) * 1000000) AS BIGINT)
FROM "given second_moment") >= 1700000000000000, 1 = 0) THEN NULL ELSE CAST(fail('orders as of then: the past of orders is not known at that instant, for it''s so') AS VARCHAR) END AS _why) AS r
WHERE NOT _why IS NULL


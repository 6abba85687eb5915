-- orders
SELECT `pk`, `a_b`, `a_b_2`, `it_s`, `q_q`, `back_slash`, `_0_`, `né`, `_`, `ns`, CAST(NULL AS ARRAY<BINARY>) AS `bs`, CAST(`grew` AS DECIMAL(38, 1)) AS `grew`, COALESCE(CASE WHEN get_json_object(_item, '$[\'burst\'][\'N\']') RLIKE '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$' THEN TRY_CAST(get_json_object(_item, '$[\'burst\'][\'N\']') AS DOUBLE) END, CAST(`burst` AS DOUBLE)) AS `burst`, `_item_key`, `_item`, `_created_at_us`, `_op`, `_rescued`, `_expired_at`
FROM c.db.orders VERSION AS OF 7 AS `of state`
WHERE NOT EXISTS(SELECT 1
FROM c.db.orders_tail VERSION AS OF 7 AS `of tail`
WHERE `of tail`._item_key = `of state`._item_key)
UNION ALL SELECT `pk`, `a_b`, `a_b_2`, `it_s`, `q_q`, `back_slash`, `_0_`, `né`, `_`, `ns`, `bs`, `grew`, `burst`, `_item_key`, `_item`, `_created_at_us`, `_op`, `_rescued`, `_expired_at`
FROM c.db.orders_tail VERSION AS OF 7 AS `of tail`
WHERE _is_live

-- orders_changes
SELECT `item_key`, `pk`, `op`, `event_time`, `created_at_us`, `event_id`, `is_ttl`, `new_image`, `old_image`, get_json_object(new_image, '$[\'pk\'][\'S\']') AS `new_pk`,
CASE WHEN get_json_object(new_image, '$[\'a b\'][\'N\']') RLIKE '^-?0*[0-9]{1,18}([.]0*)?$' THEN TRY_CAST(TRY_CAST(get_json_object(new_image, '$[\'a b\'][\'N\']') AS DECIMAL(38,0)) AS BIGINT) END AS `new_a_b`,
CASE WHEN get_json_object(new_image, '$[\'a.b\'][\'N\']') RLIKE '^-?0*[0-9]{1,36}([.][0-9]{0,2}0*)?$' THEN TRY_CAST(get_json_object(new_image, '$[\'a.b\'][\'N\']') AS DECIMAL(38,2)) END AS `new_a_b_2`,
CASE WHEN get_json_object(from_json(new_image, 'map<string,string>')['it\'s'], '$.N') RLIKE '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$' THEN TRY_CAST(get_json_object(from_json(new_image, 'map<string,string>')['it\'s'], '$.N') AS DOUBLE) END AS `new_it_s`,
CASE get_json_object(new_image, '$[\'q"q\'][\'BOOL\']') WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END AS `new_q_q`,
CASE WHEN get_json_object(from_json(new_image, 'map<string,string>')['back\\slash'], '$.B') RLIKE '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' THEN unbase64(get_json_object(from_json(new_image, 'map<string,string>')['back\\slash'], '$.B')) END AS `new_back_slash`,
CASE WHEN startswith(get_json_object(new_image, '$[\'[0]\']'), '{"M":') THEN get_json_object(new_image, '$[\'[0]\']') END AS `new__0_`,
CASE WHEN startswith(get_json_object(new_image, '$[\'né\']'), '{"L":') THEN get_json_object(new_image, '$[\'né\']') END AS `new_né`, array_sort(from_json(get_json_object(from_json(new_image, 'map<string,string>')['*'], '$.SS'), 'array<string>')) AS `new__`,
CASE WHEN forall(from_json(get_json_object(new_image, '$[\'ns\'][\'NS\']'), 'array<string>'), e -> e RLIKE '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN array_sort(transform(from_json(get_json_object(new_image, '$[\'ns\'][\'NS\']'), 'array<string>'), e ->
CASE WHEN e RLIKE '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$' THEN TRY_CAST(e AS DECIMAL(38,1)) END)) END AS `new_ns`,
CASE WHEN forall(from_json(get_json_object(new_image, '$[\'bs\'][\'BS\']'), 'array<string>'), e -> e RLIKE '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN array_sort(transform(from_json(get_json_object(new_image, '$[\'bs\'][\'BS\']'), 'array<string>'), e ->
CASE WHEN e RLIKE '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' THEN unbase64(e) END)) END AS `new_bs`,
CASE WHEN get_json_object(new_image, '$[\'grew\'][\'N\']') RLIKE '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$' THEN TRY_CAST(get_json_object(new_image, '$[\'grew\'][\'N\']') AS DECIMAL(38,1)) END AS `new_grew`,
CASE WHEN get_json_object(new_image, '$[\'burst\'][\'N\']') RLIKE '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$' THEN TRY_CAST(get_json_object(new_image, '$[\'burst\'][\'N\']') AS DOUBLE) END AS `new_burst`, get_json_object(old_image, '$[\'pk\'][\'S\']') AS `old_pk`,
CASE WHEN get_json_object(old_image, '$[\'a b\'][\'N\']') RLIKE '^-?0*[0-9]{1,18}([.]0*)?$' THEN TRY_CAST(TRY_CAST(get_json_object(old_image, '$[\'a b\'][\'N\']') AS DECIMAL(38,0)) AS BIGINT) END AS `old_a_b`,
CASE WHEN get_json_object(old_image, '$[\'a.b\'][\'N\']') RLIKE '^-?0*[0-9]{1,36}([.][0-9]{0,2}0*)?$' THEN TRY_CAST(get_json_object(old_image, '$[\'a.b\'][\'N\']') AS DECIMAL(38,2)) END AS `old_a_b_2`,
CASE WHEN get_json_object(from_json(old_image, 'map<string,string>')['it\'s'], '$.N') RLIKE '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$' THEN TRY_CAST(get_json_object(from_json(old_image, 'map<string,string>')['it\'s'], '$.N') AS DOUBLE) END AS `old_it_s`,
CASE get_json_object(old_image, '$[\'q"q\'][\'BOOL\']') WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END AS `old_q_q`,
CASE WHEN get_json_object(from_json(old_image, 'map<string,string>')['back\\slash'], '$.B') RLIKE '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' THEN unbase64(get_json_object(from_json(old_image, 'map<string,string>')['back\\slash'], '$.B')) END AS `old_back_slash`,
CASE WHEN startswith(get_json_object(old_image, '$[\'[0]\']'), '{"M":') THEN get_json_object(old_image, '$[\'[0]\']') END AS `old__0_`,
CASE WHEN startswith(get_json_object(old_image, '$[\'né\']'), '{"L":') THEN get_json_object(old_image, '$[\'né\']') END AS `old_né`, array_sort(from_json(get_json_object(from_json(old_image, 'map<string,string>')['*'], '$.SS'), 'array<string>')) AS `old__`,
CASE WHEN forall(from_json(get_json_object(old_image, '$[\'ns\'][\'NS\']'), 'array<string>'), e -> e RLIKE '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN array_sort(transform(from_json(get_json_object(old_image, '$[\'ns\'][\'NS\']'), 'array<string>'), e ->
CASE WHEN e RLIKE '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$' THEN TRY_CAST(e AS DECIMAL(38,1)) END)) END AS `old_ns`,
CASE WHEN forall(from_json(get_json_object(old_image, '$[\'bs\'][\'BS\']'), 'array<string>'), e -> e RLIKE '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN array_sort(transform(from_json(get_json_object(old_image, '$[\'bs\'][\'BS\']'), 'array<string>'), e ->
CASE WHEN e RLIKE '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' THEN unbase64(e) END)) END AS `old_bs`,
CASE WHEN get_json_object(old_image, '$[\'grew\'][\'N\']') RLIKE '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$' THEN TRY_CAST(get_json_object(old_image, '$[\'grew\'][\'N\']') AS DECIMAL(38,1)) END AS `old_grew`,
CASE WHEN get_json_object(old_image, '$[\'burst\'][\'N\']') RLIKE '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$' THEN TRY_CAST(get_json_object(old_image, '$[\'burst\'][\'N\']') AS DOUBLE) END AS `old_burst`
FROM c.db.orders_changes VERSION AS OF 7 AS l

-- orders_big
SELECT `pk`, `a_b`, coalesce(get_json_object(_item, '$[\'x y\'][\'S\']'), get_json_object(_item, '$[\'x y\'][\'N\']')) AS `x_y`, `_item_key`, `_item`, `_created_at_us`, `_op`, `_rescued`, `_expired_at`
FROM (SELECT `pk`, `a_b`, `a_b_2`, `it_s`, `q_q`, `back_slash`, `_0_`, `né`, `_`, `ns`, CAST(NULL AS ARRAY<BINARY>) AS `bs`, CAST(`grew` AS DECIMAL(38, 1)) AS `grew`, COALESCE(CASE WHEN get_json_object(_item, '$[\'burst\'][\'N\']') RLIKE '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$' THEN TRY_CAST(get_json_object(_item, '$[\'burst\'][\'N\']') AS DOUBLE) END, CAST(`burst` AS DOUBLE)) AS `burst`, `_item_key`, `_item`, `_created_at_us`, `_op`, `_rescued`, `_expired_at`
FROM c.db.orders VERSION AS OF 7 AS `of state`
WHERE NOT EXISTS(SELECT 1
FROM c.db.orders_tail VERSION AS OF 7 AS `of tail`
WHERE `of tail`._item_key = `of state`._item_key)
UNION ALL SELECT `pk`, `a_b`, `a_b_2`, `it_s`, `q_q`, `back_slash`, `_0_`, `né`, `_`, `ns`, `bs`, `grew`, `burst`, `_item_key`, `_item`, `_created_at_us`, `_op`, `_rescued`, `_expired_at`
FROM c.db.orders_tail VERSION AS OF 7 AS `of tail`
WHERE _is_live) AS `of items`
WHERE (startswith(`pk`, 'x') OR startswith(get_json_object(_item, '$[\'a b\'][\'S\']'), 'b\\ig\'s') OR ((`pk` IN ('a', 'b')) AND NOT coalesce((`a_b` = CAST('7' AS BIGINT)), FALSE) AND (`q_q` = TRUE) AND NOT coalesce((`it_s` IS NOT NULL OR from_json(_item, 'map<string,string>')['it\'s'] IS NOT NULL), FALSE)))

-- orders_as_of(moment)
SELECT get_json_object(_item, '$[\'pk\'][\'S\']') AS `pk`,
CASE WHEN get_json_object(_item, '$[\'a b\'][\'N\']') RLIKE '^-?0*[0-9]{1,18}([.]0*)?$' THEN TRY_CAST(TRY_CAST(get_json_object(_item, '$[\'a b\'][\'N\']') AS DECIMAL(38,0)) AS BIGINT) END AS `a_b`,
CASE WHEN get_json_object(_item, '$[\'a.b\'][\'N\']') RLIKE '^-?0*[0-9]{1,36}([.][0-9]{0,2}0*)?$' THEN TRY_CAST(get_json_object(_item, '$[\'a.b\'][\'N\']') AS DECIMAL(38,2)) END AS `a_b_2`,
CASE WHEN get_json_object(from_json(_item, 'map<string,string>')['it\'s'], '$.N') RLIKE '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$' THEN TRY_CAST(get_json_object(from_json(_item, 'map<string,string>')['it\'s'], '$.N') AS DOUBLE) END AS `it_s`,
CASE get_json_object(_item, '$[\'q"q\'][\'BOOL\']') WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END AS `q_q`,
CASE WHEN get_json_object(from_json(_item, 'map<string,string>')['back\\slash'], '$.B') RLIKE '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' THEN unbase64(get_json_object(from_json(_item, 'map<string,string>')['back\\slash'], '$.B')) END AS `back_slash`,
CASE WHEN startswith(get_json_object(_item, '$[\'[0]\']'), '{"M":') THEN get_json_object(_item, '$[\'[0]\']') END AS `_0_`,
CASE WHEN startswith(get_json_object(_item, '$[\'né\']'), '{"L":') THEN get_json_object(_item, '$[\'né\']') END AS `né`, array_sort(from_json(get_json_object(from_json(_item, 'map<string,string>')['*'], '$.SS'), 'array<string>')) AS `_`,
CASE WHEN forall(from_json(get_json_object(_item, '$[\'ns\'][\'NS\']'), 'array<string>'), e -> e RLIKE '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$') THEN array_sort(transform(from_json(get_json_object(_item, '$[\'ns\'][\'NS\']'), 'array<string>'), e ->
CASE WHEN e RLIKE '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$' THEN TRY_CAST(e AS DECIMAL(38,1)) END)) END AS `ns`,
CASE WHEN forall(from_json(get_json_object(_item, '$[\'bs\'][\'BS\']'), 'array<string>'), e -> e RLIKE '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$') THEN array_sort(transform(from_json(get_json_object(_item, '$[\'bs\'][\'BS\']'), 'array<string>'), e ->
CASE WHEN e RLIKE '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' THEN unbase64(e) END)) END AS `bs`,
CASE WHEN get_json_object(_item, '$[\'grew\'][\'N\']') RLIKE '^-?0*[0-9]{1,37}([.][0-9]{0,1}0*)?$' THEN TRY_CAST(get_json_object(_item, '$[\'grew\'][\'N\']') AS DECIMAL(38,1)) END AS `grew`,
CASE WHEN get_json_object(_item, '$[\'burst\'][\'N\']') RLIKE '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$' THEN TRY_CAST(get_json_object(_item, '$[\'burst\'][\'N\']') AS DOUBLE) END AS `burst`, `_item_key`, `_item`, `_created_at_us`, `_op`, `_expired_at`
FROM (SELECT *
FROM (SELECT item_key AS _item_key, new_image AS _item, created_at_us AS _created_at_us, op AS _op, CAST(NULL AS TIMESTAMP_NTZ) AS _expired_at
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item_key ORDER BY
CASE WHEN source = 'stream' THEN 1 ELSE 0 END DESC,
CASE WHEN _more > 0 THEN 1 ELSE 0 END DESC, created_at_us DESC, event_id DESC) AS _rank
FROM (SELECT *, SUM(_way) OVER (PARTITION BY item_key, _vertex) AS _more
FROM (SELECT *,
CASE WHEN source <> 'stream' THEN NULL WHEN _way = 1 THEN
CASE WHEN op = 'REMOVE' OR new_image IS NULL THEN '' ELSE new_image END WHEN NOT old_image IS NULL THEN old_image WHEN op = 'INSERT' THEN '' ELSE 'before ' || event_id END AS _vertex
FROM (SELECT *, COUNT(CASE WHEN created_at_us % 1000 = 0 THEN 1 END) OVER (PARTITION BY item_key) AS _whole
FROM (SELECT item_key, op, event_time, created_at_us, event_id, is_ttl, source, new_image, old_image, _last
FROM c.db.orders_changes VERSION AS OF 7 AS c JOIN (SELECT item_key AS _key, MAX(created_at_us) AS _last
FROM c.db.orders_changes VERSION AS OF 7 AS c
WHERE event_time <= CAST(:moment AS TIMESTAMP_NTZ) + INTERVAL '1' SECOND AND created_at_us <= unix_micros(CAST(CAST(:moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) AND NOT (op = 'READ' AND LOCATE('/raw/backfill/table=orders/r/', raw_object) > 0 AND unix_micros(CAST(CAST(:moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) < 1800000000000000) GROUP BY item_key) AS n ON item_key = _key
WHERE event_time <= CAST(:moment AS TIMESTAMP_NTZ) + INTERVAL '1' SECOND AND created_at_us <= unix_micros(CAST(CAST(:moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) AND NOT (op = 'READ' AND LOCATE('/raw/backfill/table=orders/r/', raw_object) > 0 AND unix_micros(CAST(CAST(:moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) < 1800000000000000) AND created_at_us >= _last - _last % 1000) AS t) AS t CROSS JOIN (SELECT 1 AS _way
UNION ALL SELECT -1) AS w
WHERE _whole > 0 OR created_at_us = _last) AS b) AS b
WHERE _way = 1) AS w
WHERE _rank = 1) AS l
WHERE (_op <> 'REMOVE' OR NOT _expired_at IS NULL)) AS i
UNION ALL SELECT CAST(NULL AS STRING) AS `pk`, CAST(NULL AS BIGINT) AS `a_b`, CAST(NULL AS DECIMAL(38, 2)) AS `a_b_2`, CAST(NULL AS DOUBLE) AS `it_s`, CAST(NULL AS BOOLEAN) AS `q_q`, CAST(NULL AS BINARY) AS `back_slash`, CAST(NULL AS STRING) AS `_0_`, CAST(NULL AS STRING) AS `né`, CAST(NULL AS ARRAY<STRING>) AS `_`, CAST(NULL AS ARRAY<DECIMAL(38, 1)>) AS `ns`, CAST(NULL AS ARRAY<BINARY>) AS `bs`, CAST(NULL AS DECIMAL(38, 1)) AS `grew`, CAST(NULL AS DOUBLE) AS `burst`, CAST(NULL AS STRING) AS `_item_key`, CAST(NULL AS STRING) AS `_item`, CAST(NULL AS BIGINT) AS `_created_at_us`, CAST(NULL AS STRING) AS `_op`, CAST(NULL AS TIMESTAMP_NTZ) AS `_expired_at`
FROM (SELECT
CASE WHEN COALESCE(unix_micros(CAST(CAST(:moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) >= 1700000000000000, 1 = 0) THEN NULL ELSE CAST(raise_error('orders as of then: the past of orders is not known at that instant, for it\'s so') AS STRING) END AS _why) AS r
WHERE NOT _why IS NULL

-- orders_history(key_0, key_1)
SELECT `item_key`, `pk`, `op`, `event_time`, `created_at_us`, `event_id`, `is_ttl`, `new_image`, `old_image`
FROM c.db.orders_changes VERSION AS OF 7 AS l
WHERE `pk` = CAST(:key_0 AS STRING) AND `sk` = CAST(:key_1 AS STRING) ORDER BY created_at_us NULLS LAST, event_id NULLS LAST

-- orders_transitions(attribute)
SELECT item_key AS _item_key, `pk`, `sk`, coalesce(get_json_object(__from, '$.S'), get_json_object(__from, '$.N'), get_json_object(__from, '$.B'), __from) AS from_value, coalesce(get_json_object(__new, '$.S'), get_json_object(__new, '$.N'), get_json_object(__new, '$.B'), __new) AS to_value, event_time AS changed_at, created_at_us - LAG(created_at_us) OVER (PARTITION BY item_key ORDER BY __n NULLS LAST) AS lasted_us, op, event_id
FROM (SELECT *,
CASE WHEN __n = 1 THEN __was ELSE __before END AS __from
FROM (SELECT *, LAG(__new) OVER (PARTITION BY item_key ORDER BY created_at_us NULLS LAST, event_id NULLS LAST) AS __before, ROW_NUMBER() OVER (PARTITION BY item_key ORDER BY created_at_us NULLS LAST, event_id NULLS LAST) AS __n
FROM (SELECT item_key, `pk`, `sk`, op, event_time, created_at_us, event_id, __was,
CASE WHEN op <> 'REMOVE' THEN __came END AS __new
FROM (SELECT *, from_json(new_image, 'map<string,string>')[__attribute] AS __came, from_json(old_image, 'map<string,string>')[__attribute] AS __was
FROM (SELECT *, CAST(:attribute AS STRING) AS __attribute
FROM c.db.orders_changes VERSION AS OF 7 AS c) AS c) AS c) AS c) AS c) AS c
WHERE NOT (__n = 1 AND op = 'READ') AND __from IS DISTINCT
FROM __new

-- orders_diff(first_moment, second_moment)
SELECT _item_key, get_json_object(_item, '$[\'pk\'][\'S\']') AS `pk`,
CASE WHEN get_json_object(_item, '$[\'a b\'][\'N\']') RLIKE '^-?0*[0-9]{1,18}([.]0*)?$' THEN TRY_CAST(TRY_CAST(get_json_object(_item, '$[\'a b\'][\'N\']') AS DECIMAL(38,0)) AS BIGINT) END AS `a_b`, difference, `before`, `after`
FROM (SELECT COALESCE(b._item_key, a._item_key) AS _item_key, COALESCE(a._item, b._item) AS _item,
CASE WHEN b._item IS NULL THEN 'added' WHEN a._item IS NULL THEN 'removed' ELSE 'changed' END AS difference, b._item AS `before`, a._item AS `after`
FROM (SELECT *
FROM (SELECT item_key AS _item_key, new_image AS _item, created_at_us AS _created_at_us, op AS _op, CAST(NULL AS TIMESTAMP_NTZ) AS _expired_at
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item_key ORDER BY
CASE WHEN source = 'stream' THEN 1 ELSE 0 END DESC,
CASE WHEN _more > 0 THEN 1 ELSE 0 END DESC, created_at_us DESC, event_id DESC) AS _rank
FROM (SELECT *, SUM(_way) OVER (PARTITION BY item_key, _vertex) AS _more
FROM (SELECT *,
CASE WHEN source <> 'stream' THEN NULL WHEN _way = 1 THEN
CASE WHEN op = 'REMOVE' OR new_image IS NULL THEN '' ELSE new_image END WHEN NOT old_image IS NULL THEN old_image WHEN op = 'INSERT' THEN '' ELSE 'before ' || event_id END AS _vertex
FROM (SELECT *, COUNT(CASE WHEN created_at_us % 1000 = 0 THEN 1 END) OVER (PARTITION BY item_key) AS _whole
FROM (SELECT item_key, op, event_time, created_at_us, event_id, is_ttl, source, new_image, old_image, _last
FROM c.db.orders_changes VERSION AS OF 7 AS c JOIN (SELECT item_key AS _key, MAX(created_at_us) AS _last
FROM c.db.orders_changes VERSION AS OF 7 AS c
WHERE event_time <= CAST(:first_moment AS TIMESTAMP_NTZ) + INTERVAL '1' SECOND AND created_at_us <= unix_micros(CAST(CAST(:first_moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) AND NOT (op = 'READ' AND LOCATE('/raw/backfill/table=orders/r/', raw_object) > 0 AND unix_micros(CAST(CAST(:first_moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) < 1800000000000000) GROUP BY item_key) AS n ON item_key = _key
WHERE event_time <= CAST(:first_moment AS TIMESTAMP_NTZ) + INTERVAL '1' SECOND AND created_at_us <= unix_micros(CAST(CAST(:first_moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) AND NOT (op = 'READ' AND LOCATE('/raw/backfill/table=orders/r/', raw_object) > 0 AND unix_micros(CAST(CAST(:first_moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) < 1800000000000000) AND created_at_us >= _last - _last % 1000) AS t) AS t CROSS JOIN (SELECT 1 AS _way
UNION ALL SELECT -1) AS w
WHERE _whole > 0 OR created_at_us = _last) AS b) AS b
WHERE _way = 1) AS w
WHERE _rank = 1) AS l
WHERE (_op <> 'REMOVE' OR NOT _expired_at IS NULL)) AS b FULL JOIN (SELECT *
FROM (SELECT item_key AS _item_key, new_image AS _item, created_at_us AS _created_at_us, op AS _op, CAST(NULL AS TIMESTAMP_NTZ) AS _expired_at
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item_key ORDER BY
CASE WHEN source = 'stream' THEN 1 ELSE 0 END DESC,
CASE WHEN _more > 0 THEN 1 ELSE 0 END DESC, created_at_us DESC, event_id DESC) AS _rank
FROM (SELECT *, SUM(_way) OVER (PARTITION BY item_key, _vertex) AS _more
FROM (SELECT *,
CASE WHEN source <> 'stream' THEN NULL WHEN _way = 1 THEN
CASE WHEN op = 'REMOVE' OR new_image IS NULL THEN '' ELSE new_image END WHEN NOT old_image IS NULL THEN old_image WHEN op = 'INSERT' THEN '' ELSE 'before ' || event_id END AS _vertex
FROM (SELECT *, COUNT(CASE WHEN created_at_us % 1000 = 0 THEN 1 END) OVER (PARTITION BY item_key) AS _whole
FROM (SELECT item_key, op, event_time, created_at_us, event_id, is_ttl, source, new_image, old_image, _last
FROM c.db.orders_changes VERSION AS OF 7 AS c JOIN (SELECT item_key AS _key, MAX(created_at_us) AS _last
FROM c.db.orders_changes VERSION AS OF 7 AS c
WHERE event_time <= CAST(:second_moment AS TIMESTAMP_NTZ) + INTERVAL '1' SECOND AND created_at_us <= unix_micros(CAST(CAST(:second_moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) AND NOT (op = 'READ' AND LOCATE('/raw/backfill/table=orders/r/', raw_object) > 0 AND unix_micros(CAST(CAST(:second_moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) < 1800000000000000) GROUP BY item_key) AS n ON item_key = _key
WHERE event_time <= CAST(:second_moment AS TIMESTAMP_NTZ) + INTERVAL '1' SECOND AND created_at_us <= unix_micros(CAST(CAST(:second_moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) AND NOT (op = 'READ' AND LOCATE('/raw/backfill/table=orders/r/', raw_object) > 0 AND unix_micros(CAST(CAST(:second_moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) < 1800000000000000) AND created_at_us >= _last - _last % 1000) AS t) AS t CROSS JOIN (SELECT 1 AS _way
UNION ALL SELECT -1) AS w
WHERE _whole > 0 OR created_at_us = _last) AS b) AS b
WHERE _way = 1) AS w
WHERE _rank = 1) AS l
WHERE (_op <> 'REMOVE' OR NOT _expired_at IS NULL)) AS a ON a._item_key = b._item_key
WHERE b._item IS NULL OR a._item IS NULL OR a._item <> b._item) AS d
UNION ALL SELECT CAST(NULL AS STRING) AS `_item_key`, CAST(NULL AS STRING) AS `pk`, CAST(NULL AS BIGINT) AS `a_b`, CAST(NULL AS STRING) AS `difference`, CAST(NULL AS STRING) AS `before`, CAST(NULL AS STRING) AS `after`
FROM (SELECT
CASE WHEN COALESCE(unix_micros(CAST(CAST(:first_moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) >= 1700000000000000, 1 = 0) THEN NULL ELSE CAST(raise_error('orders as of then: the past of orders is not known at that instant, for it\'s so') AS STRING) END AS _why) AS r
WHERE NOT _why IS NULL
UNION ALL SELECT CAST(NULL AS STRING) AS `_item_key`, CAST(NULL AS STRING) AS `pk`, CAST(NULL AS BIGINT) AS `a_b`, CAST(NULL AS STRING) AS `difference`, CAST(NULL AS STRING) AS `before`, CAST(NULL AS STRING) AS `after`
FROM (SELECT
CASE WHEN COALESCE(unix_micros(CAST(CAST(:second_moment AS TIMESTAMP_NTZ) AS TIMESTAMP)) >= 1700000000000000, 1 = 0) THEN NULL ELSE CAST(raise_error('orders as of then: the past of orders is not known at that instant, for it\'s so') AS STRING) END AS _why) AS r
WHERE NOT _why IS NULL


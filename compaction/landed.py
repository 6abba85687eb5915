"""Landed records of a batch in one DuckDB table: the vectorised twin of `lake.records.decode_record`.

The SQL takes in only what is plainly right. An object that holds anything else is left to `salvage`, which
reads it record by record; the two must agree wherever the SQL says yes. Two things AWS never writes it does
not see, for they would cost a fifth of the time: what only DuckDB calls JSON (`NaN`, a comma before a closing
bracket), and an image whose key is another but which holds the right one within a map.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lake.config import TableConfig
from lake.records import FUTURE_US_MAX, TTL_PRINCIPAL
from lake.sql import item_key_sql, key_part_sql, literal, paths, pointer

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What a row of `landed` says of its record.
TAKEN, FOREIGN, ODD = 0, 1, 2
OBJECT_BYTES_MAX = 4 << 20  # a longer record is salvaged: each thread holds buffers of twice this

_ENVELOPE = """{eventID: 'JSON', eventName: 'JSON', tableName: 'JSON', eventSourceARN: 'JSON',
  userIdentity: 'JSON', _lake: 'JSON', dynamodb: 'STRUCT(ApproximateCreationDateTime JSON, "Keys" JSON,
  NewImage JSON, OldImage JSON, SequenceNumber JSON)'}"""


def create_landed(con: DuckDBPyConnection, table: TableConfig) -> None:
    """An empty `landed`: a row a record, with the change of it where it is taken."""
    keys = "".join(f", key_{n} VARCHAR" for n, _ in enumerate(table.keys.attributes))
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE landed (verdict TINYINT, object INTEGER, item_key VARCHAR{keys},
        op VARCHAR, created_at_us BIGINT, event_id VARCHAR, new_image VARCHAR, old_image VARCHAR,
        is_ttl BOOLEAN, source VARCHAR, sequence_number VARCHAR, shard_id VARCHAR, masks VARCHAR)"""
    )


def read_landed(
    con: DuckDBPyConnection,
    table: TableConfig,
    others: Sequence[str],
    files: Sequence[str],
    layout: str,
    has_binary: bool,
    now_us: int,
) -> None:
    """Adds the records of the files to `landed`. Raises duckdb.Error where a file is not such NDJSON.

    `others` are the DynamoDB names of the lake's other tables, whose records are not this table's concern;
    `layout` is `newline_delimited`, or `unstructured` where records follow each other with nothing between;
    `has_binary` is False where no value of the files is binary.
    """
    con.execute(f"INSERT INTO landed {_select(table, others, files, layout, has_binary, now_us)}")


def _select(
    table: TableConfig,
    others: Sequence[str],
    files: Sequence[str],
    layout: str,
    has_binary: bool,
    now_us: int,
) -> str:
    parts = [f"key_{n}" for n, _ in enumerate(table.keys.attributes)]
    attributes = table.keys.attributes
    key_texts = paths([*(pointer(a.name, a.kind) for a in attributes), *(pointer(a.name) for a in attributes)])
    names = [literal(_json_text(a.name) + ":") for a in attributes]
    raw_parts = ", ".join(
        f"key_texts[{n + 1}] AS raw_{n}, {name} || key_texts[{n + 1 + len(names)}] AS pair_{n}"
        for n, name in enumerate(names)
    )
    canonical = ", ".join(f"{key_part_sql(a, f'raw_{n}')} AS key_{n}" for n, a in enumerate(attributes))
    once = "{0}"
    if has_binary and table.surface == "kds":  # which encodes binary twice; what else lands has it once
        once = """CASE WHEN source = 'stream' AND (contains({0}, '"B":"') OR contains({0}, '"BS":['))
          THEN binary_once({0}) ELSE {0} END"""
    return f"""
    WITH envelope AS (
      SELECT filename[-15:-8]::INTEGER AS object,
        eventID::VARCHAR AS event_json, eventName::VARCHAR AS name_json,
        {_routing(table, others)} AS routing, userIdentity::VARCHAR AS identity, _lake::VARCHAR AS lake,
        dynamodb.ApproximateCreationDateTime::VARCHAR AS time_text, dynamodb."Keys"::VARCHAR AS "keys",
        dynamodb.NewImage::VARCHAR AS new_raw, dynamodb.OldImage::VARCHAR AS old_raw,
        dynamodb.SequenceNumber::VARCHAR AS number_json
      FROM read_json({paths(list(files))}, format = {literal(layout)}, compression = 'uncompressed',
        filename = true, maximum_object_size = {OBJECT_BYTES_MAX}, columns = {_ENVELOPE})),
    named AS (
      SELECT *, CASE name_json WHEN '"INSERT"' THEN 'INSERT' WHEN '"MODIFY"' THEN 'MODIFY'
          WHEN '"REMOVE"' THEN 'REMOVE' WHEN '"READ"' THEN 'READ' END AS op,
        CASE WHEN starts_with(event_json, '"') AND NOT contains(event_json, '\\')
          THEN nullif(event_json[2:-2], '') END AS event_id,
        TRY_CAST(time_text AS BIGINT) AS cast_time, CASE WHEN cast_time BETWEEN 100000000 AND 99999999999999999
          AND cast_time::VARCHAR = time_text THEN cast_time END AS time_value,
        CASE WHEN lake IS NULL THEN 'stream'
          ELSE coalesce(json_extract_string(lake, '/source'), 'stream') END AS source,
        {_lake_text("masks")} AS masks,
        {_lake_text("shard_id")} AS shard_id, {_lake_text("sequence_number")} AS arrived_as,
        trim(number_json, '"') AS number, {once.format('"keys"')} AS keys_once,
        {once.format("new_raw")} AS new_image, {once.format("old_raw")} AS old_image,
        json_extract_string(keys_once, {key_texts}) AS key_texts
      FROM envelope),
    parts AS (
      SELECT *, {raw_parts},
        CASE WHEN time_value < 100000000000 THEN time_value * 1000000
          WHEN time_value < 100000000000000 THEN time_value * 1000 ELSE time_value END AS created_at_us
      FROM named),
    keyed AS (SELECT *, {canonical} FROM parts)
    SELECT CASE WHEN routing <> {TAKEN} THEN routing WHEN {_plainly_right(table, now_us)} THEN {TAKEN}
        ELSE {ODD} END AS verdict,
      object, {item_key_sql(table.keys, parts)} AS item_key, {", ".join(parts)}, op, created_at_us, event_id,
      CASE WHEN routing = {TAKEN} THEN new_image END, CASE WHEN routing = {TAKEN} THEN old_image END,
      coalesce(op = 'REMOVE' AND {_is_ttl()}, false) AS is_ttl, source,
      CASE WHEN source <> 'stream' THEN NULL
        {"WHEN true THEN lpad(number, 40, '0')" if table.surface == "streams" else ""}
        ELSE arrived_as END AS sequence_number, shard_id, nullif(masks, '') AS masks
    FROM keyed"""


def _routing(table: TableConfig, others: Sequence[str]) -> str:
    """Whose record it is: this table's, another registered one's, or to be looked at closely."""
    known = ", ".join([*(literal(_json_text(name)) for name in others), "''"])
    return f"""CASE WHEN tableName::VARCHAR = {literal(_json_text(table.dynamodb_name))} THEN {TAKEN}
          WHEN tableName::VARCHAR IN ({known}) THEN {FOREIGN}
          WHEN tableName IS NULL AND regexp_extract(eventSourceARN::VARCHAR,
            '^"arn:[^:]*:dynamodb:[^:]*:[^:]*:table/([^/]+)/stream/[^"]*"$', 1)
            = {literal(table.dynamodb_name)} THEN {TAKEN}
          ELSE {ODD} END"""


def _plainly_right(table: TableConfig, now_us: int) -> str:
    """SQL for: `decode_record` would take this record, and give just these columns."""
    tests = [
        "op IS NOT NULL",
        "event_id IS NOT NULL",
        "(lake IS NULL OR starts_with(lake, '{'))",
        *(["masks <> ''"] if table.masks else []),
        """CASE source WHEN 'stream' THEN op <> 'READ' WHEN 'scan' THEN op IN ('READ', 'REMOVE')
             WHEN 'export' THEN op IN ('READ', 'REMOVE') WHEN 'repair' THEN op IN ('READ', 'REMOVE')
             ELSE false END""",
        f"created_at_us <= {now_us + FUTURE_US_MAX}",
        """CASE op WHEN 'REMOVE' THEN new_image IS NULL WHEN 'MODIFY' THEN starts_with(new_image, '{')
             ELSE starts_with(new_image, '{') AND old_image IS NULL END""",
        "(old_image IS NULL OR starts_with(old_image, '{'))",
        "(new_raw IS NULL) = (new_image IS NULL) AND (old_raw IS NULL) = (old_image IS NULL)",  # binary_once
    ]
    if table.surface == "streams":
        tests.append("(source <> 'stream' OR regexp_full_match(number_json, '\"[0-9]{1,40}\"'))")
    else:
        tests.append("(source <> 'stream' OR number_json IS NULL)")
    tests += [f"key_{n} IS NOT NULL" for n, _ in enumerate(table.keys.attributes)]
    for n, attribute in enumerate(table.keys.attributes):
        # The key is a text, and as it stands in Keys it stands in the images too.
        opening = _json_text(attribute.name) + ':{"' + attribute.kind + '":"'
        tests.append(f"starts_with(pair_{n}, {literal(opening)})")
        tests += [f"coalesce(contains({image}, pair_{n}), true)" for image in ("new_image", "old_image")]
    return "\n        AND ".join(tests)


def _is_ttl() -> str:
    return f"""identity LIKE '{{%' AND json_extract_string(identity, '/type') = 'Service'
          AND json_extract_string(identity, '/principalId') = {literal(TTL_PRINCIPAL)}"""


def _lake_text(name: str) -> str:
    """SQL for a text in `_lake`; what is none does not count."""
    place = literal(pointer(name))
    return f"""CASE WHEN lake IS NOT NULL AND json_type(lake, {place}) = 'VARCHAR'
          THEN json_extract_string(lake, {place}) END"""


def _json_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

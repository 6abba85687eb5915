"""`lake.toml`: the tables of a lake and their policies. Pure: text in, settings out."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lake.changes import Surface, Ttl
from lake.entities import Entity, entities_text, parse_entities
from lake.errors import ConfigError
from lake.keys import KeyAttribute, KeySchema
from lake.layout import SUFFIXES, lake_name
from lake.masks import Mask, fingerprint, masked_keys, parse_masks
from lake.records import TableRules

FORMAT = 1
BUCKETS_MAX = 4096
MASK_SECRET = "env:DYNALAKE_MASK_SECRET"  # where the secret is, unless lake.toml says otherwise
_LAKE_SETTINGS = {"format", "catalog", "masks", "poison", "tables"}
_TABLE_SETTINGS = {
    "dynamodb_name", "hash_key", "range_key", "surface", "buckets", "ttl", "masked_keys", "masks", "entities",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TableConfig:
    """A registered DynamoDB table. `name` is its name in the lake, and never moves."""

    name: str
    dynamodb_name: str
    keys: KeySchema
    surface: Surface = "kds"
    buckets: int = 16
    ttl: Ttl = "delete"
    masks: tuple[Mask, ...] = ()
    entities: tuple[Entity, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Tells its masks from others; empty where it has none."""
        return fingerprint(self.masks) if self.masks else ""

    @property
    def rules(self) -> TableRules:
        return TableRules(self.dynamodb_name, self.keys, self.surface, must_be_masked=bool(self.masks))


@dataclass(frozen=True, slots=True)
class LakeConfig:
    """All of `lake.toml`."""

    tables: Mapping[str, TableConfig] = field(default_factory=dict)
    catalog: Mapping[str, str] = field(default_factory=dict)  # none: the file catalog.db in the lake's folder
    mask_secret: str = MASK_SECRET
    poison_queue_url: str | None = None

    @property
    def entity_views(self) -> set[str]:
        return {entity.view(table.name) for table in self.tables.values() for entity in table.entities}

    @property
    def has_masks(self) -> bool:
        return any(table.masks for table in self.tables.values())

    def table(self, name: str) -> TableConfig:
        """A table by its name in the lake or in DynamoDB. Raises ConfigError, also where the name is that of two."""
        found = [table for table in self.tables.values() if name in (table.name, table.dynamodb_name)]
        if len(found) == 1:
            return found[0]
        if found:
            names = " and ".join(f"{table.name} (DynamoDB's {table.dynamodb_name})" for table in found)
            raise ConfigError(
                "find table", repr(name), expected="one table", got=names, remedy="Use the name that only one has"
            )
        known = ", ".join(sorted(self.tables)) or "none yet"
        raise ConfigError(
            "find table", repr(name), expected=f"a registered table ({known})",
            remedy=f"Register it: dynalake add-table {name} --hash-key NAME:TYPE",
        )  # fmt: skip

    def chosen(self, names: Sequence[str] | None) -> list[TableConfig]:
        """The tables that are named, or all where none is. Raises ConfigError."""
        return [self.table(name) for name in names or sorted(self.tables)]


def parse_config(text: str, where: str) -> LakeConfig:
    """Settings from the text of `lake.toml`. Raises ConfigError naming what is wrong in it."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError("read", where, expected="TOML", got=str(fault), remedy="Mend the file") from fault
    if document.get("format") != FORMAT:
        raise ConfigError(
            "read", where, expected=f"format = {FORMAT}", got=f"format = {document.get('format')!r}",
            remedy="Use the version of dynalake that made this lake",
        )  # fmt: skip
    _refuse_unknown(document, _LAKE_SETTINGS, where)
    tables = document.get("tables", {})
    if not isinstance(tables, dict):
        raise ConfigError("read", where, expected="[tables.NAME] sections", got="something else as `tables`")
    found = {name: _table(name, section, where) for name, section in tables.items()}
    for name, table in found.items():
        others = [other for other in found if other != name]
        clashes = [other for other in others if lake_name(name, {other}) != name]
        clashes += [other for other in others if found[other].dynamodb_name == table.dynamodb_name]
        if clashes:
            raise ConfigError(
                "read", f"{where} [tables.{name}]", expected="a name and a DynamoDB table of its own",
                got=f"those of [tables.{clashes[0]}]", remedy="Rename or remove one of them",
            )  # fmt: skip
    _refuse_clashes(found, where)
    catalog = _catalog(document.get("catalog", {}), f"{where} [catalog]")
    secret = _setting(document, "masks", "secret", where) or MASK_SECRET
    return LakeConfig(found, catalog, secret, _setting(document, "poison", "queue_url", where))


def _refuse_clashes(tables: Mapping[str, TableConfig], where: str) -> None:
    """No entity's view has the name of another view, of whatever table."""
    taken = {name: f"the table {name}" for name in tables}
    taken |= {f"{name}_{suffix}": f"a view of the table {name}" for name in tables for suffix in SUFFIXES}
    for name, table in tables.items():
        for entity in table.entities:
            view = entity.view(name)
            if view in taken:
                raise ConfigError(
                    "read", f"{where} [tables.{name}.entities.{entity.name}]", expected="a view of its own",
                    got=f"{view}, which is {taken[view]}", remedy="Rename the entity",
                )  # fmt: skip
            taken[view] = f"the entity {entity.name} of the table {name}"


def _setting(document: Mapping[str, Any], section: str, name: str, where: str) -> str | None:
    """The one text in a section that holds nothing else."""
    place, found = f"{where} [{section}]", document.get(section, {})
    if not isinstance(found, dict) or not isinstance(found.get(name), str | None):
        raise ConfigError("read", place, expected=f'{name} = "…"', got=repr(found))
    _refuse_unknown(found, {name}, place)
    return found.get(name)


def _catalog(section: Any, place: str) -> dict[str, str]:
    """What pyiceberg needs to find the catalog; and `database`, where the tables are in it."""
    is_right = isinstance(section, dict) and all(isinstance(value, str) for value in section.values())
    if not is_right or (section and not {"type", "database"} <= section.keys()):
        raise ConfigError(
            "read", place, expected='texts, type = "glue" and database = "NAME" among them', got=repr(section)
        )
    return dict(section)


def _table(name: str, section: Any, where: str) -> TableConfig:
    place = f"{where} [tables.{name}]"
    if not isinstance(section, dict):
        raise ConfigError("read", place, expected="a section", got=repr(section))
    _refuse_unknown(section, _TABLE_SETTINGS, place)
    if name != lake_name(name, set()):
        raise ConfigError("read", place, expected="a lower-case name of letters, digits and _", got=repr(name))
    hash_key, range_key = section.get("hash_key"), section.get("range_key")
    surface, buckets = section.get("surface", "kds"), section.get("buckets", 16)
    ttl = section.get("ttl", "delete")
    if not isinstance(hash_key, str) or not isinstance(range_key, str | None):
        raise ConfigError("read", place, expected='hash_key = "NAME:TYPE"', got=repr(hash_key or range_key))
    if surface not in ("kds", "streams"):
        raise ConfigError("read", place, expected='surface = "kds" or "streams"', got=repr(surface))
    if ttl not in ("delete", "keep"):
        raise ConfigError("read", place, expected='ttl = "delete" or "keep"', got=repr(ttl))
    if not isinstance(buckets, int) or not 1 <= buckets <= BUCKETS_MAX:
        raise ConfigError("read", place, expected=f"buckets from 1 to {BUCKETS_MAX}", got=repr(buckets))
    keys = KeySchema(KeyAttribute.parse(hash_key), KeyAttribute.parse(range_key) if range_key else None)
    if keys.range_key and keys.range_key.name == keys.hash_key.name:
        raise ConfigError("read", place, expected="two attributes as hash key and range key", got=f"{hash_key!r} twice")
    masks = parse_masks(section.get("masks", {}), keys, place)
    _require_masked_keys(section.get("masked_keys", []), masked_keys(masks, keys), place)
    entities = parse_entities(section.get("entities", {}), keys, place)
    return TableConfig(name, str(section.get("dynamodb_name", name)), keys, surface, buckets, ttl, masks, entities)


def _require_masked_keys(said: Any, masked: list[str], place: str) -> None:
    """Whether a key is masked is said twice, so that it does not change in passing: every item would be there twice."""
    if said != masked:
        raise ConfigError(
            "read", place, expected=f"masked_keys = {json.dumps(masked)}, as its masks say", got=repr(said),
            remedy="Set the mask back. Only where nothing of the table was captured yet, change masked_keys too",
        )  # fmt: skip


def _refuse_unknown(section: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(section) - known)
    if unknown:
        raise ConfigError(
            "read", where, expected=f"settings {', '.join(sorted(known))}", got=", ".join(unknown),
            remedy="Correct or remove it",
        )  # fmt: skip


def new_config_text(catalog: Mapping[str, str]) -> str:
    """The text of a new lake's `lake.toml`."""
    text = f"# A dynalake lake. `dynalake add-table` adds sections here; comments are kept.\nformat = {FORMAT}\n"
    if catalog:
        text += "\n[catalog]\n" + "".join(f"{name} = {_text(value)}\n" for name, value in catalog.items())
    return text


def table_section(table: TableConfig) -> str:
    """The text of a `[tables.NAME]` section."""
    lines = [f"\n[tables.{table.name}]", f"dynamodb_name = {_text(table.dynamodb_name)}"]
    lines.append(f"hash_key = {_text(str(table.keys.hash_key))}")
    if table.keys.range_key:
        lines.append(f"range_key = {_text(str(table.keys.range_key))}")
    lines += [f"surface = {_text(table.surface)}", f"buckets = {table.buckets}"]
    if table.ttl != "delete":
        lines.append(f"ttl = {_text(table.ttl)}")
    if keys := masked_keys(table.masks, table.keys):
        lines.append(f"masked_keys = [{', '.join(map(_text, keys))}]")
    if table.masks:
        lines.append(f"\n[tables.{table.name}.masks]")
        lines += [f"{_text(mask.text)} = {_text(mask.action)}" for mask in table.masks]
    return "\n".join(lines) + "\n" + entities_text(table.name, table.entities)


def _text(value: str) -> str:
    # A JSON string is a TOML basic string, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

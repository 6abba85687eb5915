"""`dynalake infer-entities`: proposes the entities of a single-table design from its items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynalake.console import AsJson, Memory, print_json, print_rows

if TYPE_CHECKING:
    from lake.config import LakeConfig, TableConfig
    from lake.entities import Entity
    from queries.inference import Proposals

NAME = "infer-entities"
EXAMPLE = "dynalake infer-entities app --write"
ATTRIBUTES_SHOWN = 8


def run(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="The table, by its name in the lake or in DynamoDB.")],
    as_toml: Annotated[bool, typer.Option("--toml", help="Print sections for lake.toml.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Add them to lake.toml; what is declared there stays as it is.")
    ] = False,
    as_json: AsJson = False,
    memory_mb: Memory = 4096,
) -> None:
    """Propose entities of a table: kinds of items that keys, or an attribute, tell apart. Each can be a view."""
    from lake.entities import entities_text
    from lake.errors import ConfigError
    from lake.lake import add_entities, open_lake
    from queries.connect import connect
    from queries.inference import infer_entities

    if as_toml and (as_json or write):
        raise typer.BadParameter("expected one of --toml, --json and --write", param_hint="--toml")
    lake = open_lake(context.obj.uri)
    config = lake.config.table(table)
    with connect(lake, memory_mb) as con:
        columns = con.prepared(config.name).columns
        proposals = infer_entities(con, f'"{config.name}"', config.keys, columns, _taken(lake.config, config))
    entities = _as_declared([one.entity for one in proposals.found], config)
    added: list[Entity] = []
    if write:
        if not entities:
            raise ConfigError(
                "infer entities of", config.name, expected="items that their keys or an attribute tell apart",
                got=f"none such among {proposals.looked_at:,}", remedy="Declare them in lake.toml by hand",
            )  # fmt: skip
        lake, added = add_entities(lake, config.name, entities)
    if as_json:
        print_json(_fields(config, proposals, entities, added if write else None))
    elif as_toml:
        none = f"# {config.name}: nothing tells its items apart; {proposals.looked_at:,} were looked at"
        print(entities_text(config.name, entities).strip("\n") or none)
    else:
        _show(config, proposals, entities)
        if write:
            _show_added(config, entities, added)


def _show_added(table: TableConfig, entities: list[Entity], added: list[Entity]) -> None:
    if added:
        print(f"added to lake.toml, as views: {', '.join(entity.view(table.name) for entity in added)}")
    if others := [entity.name for entity in entities if entity not in added and entity not in table.entities]:
        print(f"declared in lake.toml with another condition, and left so: {', '.join(others)}")
    elif not added:
        print("all of them are declared: lake.toml is as it was")


def _taken(config: LakeConfig, table: TableConfig) -> set[str]:
    """Names whose views there are already, of other tables or with another meaning."""
    from lake.layout import SUFFIXES

    others = {name for name in config.tables if name != table.name}
    views = others | {f"{name}_{suffix}" for name in others for suffix in SUFFIXES}
    views |= config.entity_views - {entity.view(table.name) for entity in table.entities}
    head = f"{table.name}_"
    return {view.removeprefix(head) for view in views if view.startswith(head)} | set(SUFFIXES)


def _as_declared(entities: list[Entity], table: TableConfig) -> list[Entity]:
    """What is proposed, under the name that lake.toml has for the same condition."""
    declared = {entity.where: entity for entity in table.entities}
    return [declared.get(entity.where, entity) for entity in entities]


def _share(count: int, of: int) -> float:
    return round(100 * count / of, 2) if of else 0.0


def _show(table: TableConfig, proposals: Proposals, entities: list[Entity]) -> None:
    rows = []
    for entity, one in zip(entities, proposals.found, strict=True):
        more = len(one.attributes) - ATTRIBUTES_SHOWN
        names = ", ".join(one.attributes[:ATTRIBUTES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        rows.append((entity.name, str(entity.where), one.items, _share(one.items, proposals.items), names))
    if rows:
        print_rows(["entity", "where", "items", "share %", "attributes"], rows)
    left = f"{proposals.uncovered:,} of {proposals.items:,} items ({_share(proposals.uncovered, proposals.items)}%)"
    print(f"{left} match none of them; {proposals.looked_at:,} were looked at")


def _fields(table: TableConfig, proposals: Proposals, entities: list[Entity], added: list[Entity] | None) -> Any:
    found = [
        {
            "name": entity.name,
            "where": str(entity.where),
            "items": one.items,
            "share_percent": _share(one.items, proposals.items),
            "attributes": one.attributes,
            "is_declared": entity in table.entities or (added is not None and entity in added),
        }
        for entity, one in zip(entities, proposals.found, strict=True)
    ]
    return {
        "table": table.name,
        "items": proposals.items,
        "looked_at": proposals.looked_at,
        "uncovered": proposals.uncovered,
        "uncovered_percent": _share(proposals.uncovered, proposals.items),
        "entities": found,
        "added": None if added is None else [entity.name for entity in added],
    }

"""The SQL of what is published: views and queries with parameters for one version of a table, for one engine."""

from __future__ import annotations

from lake import layout
from lake.state import columns_of
from lake.tail import entities_of
from queries.conditions import condition_words
from queries.portable import Entity, Query, Sources, portable_queries, portable_views
from queries.publish import Version, names_of
from queries.words import Dialect


def views_of(version: Version, sources: Sources, dialect: Dialect) -> dict[str, str]:
    """The SELECT of each view of a table, by its name: also of its entities, but for `unsaid_entities`."""
    table, columns = version.table, entities_of(version.tail)
    said = {one: condition_words(one.where, version.columns, dialect) for one in table.entities}
    entities = [Entity(one.view(table.name), text, columns[one.name]) for one, text in said.items() if text]
    return portable_views(
        table, version.columns, columns_of(version.state), sources=sources, dialect=dialect, entities=entities,
        log_names=names_of(version.log), state_names=names_of(version.state),
    )  # fmt: skip


def unsaid_entities(version: Version, dialect: Dialect) -> list[str]:
    """The views of entities whose condition the engine has no words for."""
    return [
        one.view(version.table.name)
        for one in version.table.entities
        if condition_words(one.where, version.columns, dialect) is None
    ]


def untyped_changes(version: Version, sources: Sources, dialect: Dialect) -> str:
    """`orders_changes` without the typed values: short, however many attributes there are."""
    views = portable_views(
        version.table, (), (), sources=sources, dialect=dialect, log_names=names_of(version.log),
        state_names=names_of(version.state),
    )  # fmt: skip
    return views[layout.log_table(version.table.name)]


def queries_of(version: Version, sources: Sources, dialect: Dialect) -> dict[str, Query]:
    """The queries of a table that take parameters, by their names."""
    return portable_queries(
        version.table, version.columns, sources=sources, dialect=dialect, past=version.past,
        log_names=names_of(version.log),
    )  # fmt: skip

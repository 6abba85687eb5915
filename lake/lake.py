"""A lake: its place, its settings, its tables."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lake import layout
from lake.config import LakeConfig, TableConfig, new_config_text, parse_config, table_section
from lake.entities import Entity, entities_text
from lake.errors import ConfigError
from lake.store import is_s3, list_objects, put_new, read, update

_FOLDERS = (layout.RAW, layout.DEAD_LETTERS, layout.WAREHOUSE)
_UNSAFE = set("*?[]#%\"'\n")  # globs and URI marks to the engines that open the lake's files by name


@dataclass(frozen=True, slots=True)
class Lake:
    """An opened lake. `uri` is an absolute folder or `s3://bucket/prefix`, without a slash at its end."""

    uri: str
    config: LakeConfig

    @property
    def is_on_s3(self) -> bool:
        return is_s3(self.uri)

    @property
    def root(self) -> Path:
        """The folder of a lake in a folder."""
        assert not self.is_on_s3, self.uri
        return Path(self.uri)

    def place(self, relative: str) -> str:
        """The URI of something in the lake: `layout` says what lies where."""
        return f"{self.uri}/{relative}"

    @property
    def raw(self) -> str:
        return self._prefix(layout.RAW)

    @property
    def warehouse(self) -> str:
        return self.place(layout.WAREHOUSE)

    @property
    def dead_letters(self) -> str:
        return self._prefix(layout.DEAD_LETTERS)

    def _prefix(self, folder: str) -> str:
        """A place to be listed: S3 compares prefixes as text, where `raw` would be `raw-2` too."""
        return self.place(folder) + ("/" if self.is_on_s3 else "")


def open_lake(uri: str | os.PathLike[str]) -> Lake:
    """The lake at a folder or on S3. Raises ConfigError where there is none or its settings cannot be read."""
    root = _root(uri)
    path = f"{root}/{layout.CONFIG}"
    try:
        found = read(path)
        text = None if found is None else found.decode()
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError("open lake", root, expected=f"a readable {layout.CONFIG}", got=str(fault)) from fault
    if text is None:
        raise ConfigError(
            "open lake", root, expected=f"a lake with its {layout.CONFIG}", got="none",
            remedy=f"Create it: dynalake --lake {root} init",
        )  # fmt: skip
    return Lake(root, parse_config(text, path))


def create_lake(uri: str | os.PathLike[str], database: str | None = None) -> Lake:
    """A new lake in a place that is empty or not there yet; an existing lake is opened and left as it is.

    `database` is the Glue database for the tables of a lake on S3, made where there is none; one is named after
    the place where none is given. Raises ConfigError.
    """
    root = _root(uri)
    if not is_s3(root):
        _make_folder(Path(root), database)
    elif read(f"{root}/{layout.CONFIG}") is None:
        if next(list_objects(f"{root}/"), None) is not None:
            raise ConfigError(
                "create lake", root, expected="a prefix with nothing under it", got="other objects",
                remedy="Choose another prefix",
            )  # fmt: skip
        name = database or layout.sql_name(root.removeprefix("s3://"))[: layout.TABLE_NAME_MAX]
        put_new(f"{root}/{layout.CONFIG}", new_config_text({"type": "glue", "database": name}).encode())
    return open_lake(root)


def _make_folder(root: Path, database: str | None) -> None:
    if database is not None:
        raise ConfigError(
            "create lake", root, expected="a lake on S3 for a Glue database", got="a folder",
            remedy="Leave out --database, or give --lake s3://bucket/prefix",
        )  # fmt: skip
    if os.path.exists(root / layout.CONFIG):
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        # What a run of `init` at the same time, or one that was killed, left behind does not count.
        if any(e.name not in _FOLDERS and not e.name.lstrip(".").startswith(layout.CONFIG) for e in root.iterdir()):
            raise ConfigError(
                "create lake", root, expected="an empty or new folder", got="other files in it",
                remedy="Choose another folder",
            )  # fmt: skip
        for folder in _FOLDERS:
            (root / folder).mkdir(exist_ok=True)
        put_new(root / layout.CONFIG, new_config_text({}).encode())
    except OSError as fault:
        raise ConfigError("create lake", root, expected="a writable folder", got=str(fault)) from fault


def add_table(lake: Lake, table: TableConfig) -> Lake:
    """Registers a table. The same one again changes nothing; another of its name raises ConfigError."""

    def appended(text: str) -> str:
        present = parse_config(text, lake.place(layout.CONFIG))
        for other in present.tables.values():
            if other.dynamodb_name == table.dynamodb_name:
                if (other.keys, other.surface) == (table.keys, table.surface):
                    return text
                raise ConfigError(
                    "add table", table.dynamodb_name, expected="a table not registered yet",
                    got=f"one with {' '.join(map(str, other.keys.attributes))} on {other.surface}",
                    remedy="A table deleted and made anew with other keys needs a lake of its own",
                )  # fmt: skip
        name = layout.lake_name(table.dynamodb_name, set(present.tables) | present.entity_views)
        return text + table_section(replace(table, name=name))

    return _changed(lake, "add table", table.dynamodb_name, appended)


def add_entities(lake: Lake, name: str, entities: Sequence[Entity]) -> tuple[Lake, list[Entity]]:
    """Declares entities of a table; gives those that were new. One of a name that is there already stays as it is.

    Raises ConfigError.
    """
    added: list[Entity] = []

    def appended(text: str) -> str:
        present = {one.name for one in parse_config(text, lake.place(layout.CONFIG)).table(name).entities}
        added[:] = [one for one in entities if one.name not in present]
        return text.rstrip("\n") + "\n" + entities_text(name, added) if added else text

    return _changed(lake, "add entities to", name, appended), added


def _changed(lake: Lake, operation: str, identity: str, change: Callable[[str], str]) -> Lake:
    """The lake behind a change of the text of its settings, which are parsed before they are written."""
    place = lake.place(layout.CONFIG)

    def parsed(text: str) -> str:
        whole = change(text)
        parse_config(whole, place)
        return whole

    try:
        update(place, parsed)
    except OSError as fault:
        raise ConfigError(
            operation, identity, expected="a lake that may be written to", got=str(fault),
            remedy="See to the permissions of the lake's folder",
        ) from fault  # fmt: skip
    return open_lake(lake.uri)


def _root(uri: str | os.PathLike[str]) -> str:
    text = os.fspath(uri)
    if is_s3(text):
        root = text.rstrip("/")
        if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]*(/[^/]+)*", root):
            raise ConfigError("open lake", text, expected="s3://BUCKET/PREFIX", remedy="Check the name of the bucket")
    elif "://" in text:
        raise ConfigError("open lake", text, expected="a folder, or s3://BUCKET/PREFIX", got="another URI")
    else:
        root = str(Path(text).expanduser().resolve())
    if set(root) & _UNSAFE:
        raise ConfigError("open lake", root, expected="a path without any of * ? [ ] # % \" '")
    return root

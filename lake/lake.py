"""A lake: its place, its settings, its tables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lake import layout
from lake.config import LakeConfig, TableConfig, new_config_text, parse_config, table_section
from lake.errors import ConfigError
from lake.store import put_new, update

_FOLDERS = (layout.RAW, layout.DEAD_LETTERS, layout.WAREHOUSE)
_UNSAFE = set("*?[]#%\"'\n")  # globs and URI marks to the engines that open the lake's files by name


@dataclass(frozen=True, slots=True)
class Lake:
    """An opened lake in a folder."""

    root: Path
    config: LakeConfig

    @property
    def raw(self) -> str:
        return str(self.root / layout.RAW)

    @property
    def warehouse(self) -> Path:
        return self.root / layout.WAREHOUSE

    @property
    def dead_letters(self) -> Path:
        return self.root / layout.DEAD_LETTERS


def open_lake(uri: str | os.PathLike[str]) -> Lake:
    """The lake at a folder. Raises ConfigError where there is none or its settings cannot be read."""
    root = _root(uri)
    path = root / layout.CONFIG
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            "open lake", root, expected=f"a folder with {layout.CONFIG}", got="none",
            remedy=f"Create it: dynalake --lake {root} init",
        ) from None  # fmt: skip
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError("open lake", root, expected=f"a readable {layout.CONFIG}", got=str(fault)) from fault
    return Lake(root, parse_config(text, str(path)))


def create_lake(uri: str | os.PathLike[str]) -> Lake:
    """A new lake in a folder that is empty or not there yet; an existing lake is opened and left as it is."""
    root = _root(uri)
    if not os.path.exists(root / layout.CONFIG):
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
            put_new(root / layout.CONFIG, new_config_text().encode())
        except OSError as fault:
            raise ConfigError("create lake", root, expected="a writable folder", got=str(fault)) from fault
    return open_lake(root)


def add_table(lake: Lake, table: TableConfig) -> Lake:
    """Registers a table. The same one again changes nothing; another of its name raises ConfigError."""

    def appended(text: str) -> str:
        present = parse_config(text, str(lake.root / layout.CONFIG))
        for other in present.tables.values():
            if other.dynamodb_name == table.dynamodb_name:
                if (other.keys, other.surface) == (table.keys, table.surface):
                    return text
                raise ConfigError(
                    "add table", table.dynamodb_name, expected="a table not registered yet",
                    got=f"one with {' '.join(map(str, other.keys.attributes))} on {other.surface}",
                    remedy="A table deleted and made anew with other keys needs a lake of its own",
                )  # fmt: skip
        name = layout.lake_name(table.dynamodb_name, set(present.tables))
        added = TableConfig(name, table.dynamodb_name, table.keys, table.surface, table.buckets)
        whole = text + table_section(added)
        parse_config(whole, str(lake.root / layout.CONFIG))  # before it is written
        return whole

    try:
        update(lake.root / layout.CONFIG, appended)
    except OSError as fault:
        raise ConfigError(
            "add table", table.dynamodb_name, expected="a lake that may be written to", got=str(fault),
            remedy="See to the permissions of the lake's folder",
        ) from fault  # fmt: skip
    return open_lake(lake.root)


def _root(uri: str | os.PathLike[str]) -> Path:
    text = os.fspath(uri)
    if "://" in text:
        raise ConfigError(
            "open lake", text, expected="a folder", got="a URI",
            remedy="Lakes are folders for now; raw objects may lie on S3 (compact --raw s3://…)",
        )  # fmt: skip
    root = Path(text).expanduser().resolve()
    if set(str(root)) & _UNSAFE:
        raise ConfigError("open lake", root, expected="a path without any of * ? [ ] # % \" '")
    return root

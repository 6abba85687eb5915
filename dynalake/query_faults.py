"""What DuckDB says of a query that it cannot run, as one line that says what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches

import duckdb

from dynalake.relations import Relation, relations_named
from dynalake.statements import Statement, saying
from lake.errors import LakeError

Columns = Callable[[Relation], Sequence[tuple[str, str]]]
_MESSAGE_MAX = 600
_QUERY_MAX = 120
_NAMES_MAX = 12
_PLACE = re.compile(r"\n\s*LINE (?P<line>\d+): (?P<text>[^\n]*)\n(?P<before> *)\^")
_UNKNOWN = re.compile(r'(?:Table|View|Table Function|Macro Function) with name "?(?P<name>[^\s"]+)"? does not exist')
_SCALAR = re.compile(r"Scalar (?:Macro )?Function with name \"?(?P<name>[^\s\"]+)\"? does not exist")
_WRONG_ARGUMENTS = re.compile(r'[Mm]acro (?:Function )?"?(?P<name>[^\s"(]+)"?(?:\(\))? does not support')
_NO_FILE = re.compile(r"No files found|No such file|Cannot open file|NoSuchKey|HTTP.*\b404\b|404 \(Not Found\)")
_NO_COLUMN = re.compile(r'(?:Values list|Table) "(?P<owner>[^"]+)" does not have a column named "(?P<column>[^"]+)"')
_SYNTAX = re.compile(r'syntax error at or near "(?P<name>[^"]+)"')
_WRITES = re.compile(r"is not an table|Can only (?:delete from|update) base table|Cannot (?:delete|update)")
_KIND = re.compile(r"\A(?:Binder|Catalog|Parser|Invalid Input|Conversion|IO) Error: ")
_GONE = "Files of this version of the lake are gone: run the query again, in the shell after \\refresh"
_OWN_WORDS = re.compile(r"\n*Did you mean [^\n]*")


def query_fault(
    fault: Exception, statement: Statement, relations: Sequence[Relation], columns: Columns, lake_uri: str
) -> LakeError:
    """The fault of a statement, as a LakeError. `columns` gives those of a relation."""
    raw = _with_candidates(str(fault), statement, relations, columns)
    message, remedy = _remedied(raw, relations, lake_uri)
    place = _PLACE.search(raw)
    if place is not None:
        line = int(place["line"]) + statement.line - 1
        message = message.replace(place[0], "").rstrip(" .!\n") + f", at line {line}: {_marked(place)}"
    elif "syntax error at end of input" in raw:
        message += f": {statement.text[-_QUERY_MAX // 2 :]} >>>"
    operation = f"run {statement.place}:" if statement.place else "run query"
    return LakeError(operation, shortened(statement.text), got=_KIND.sub("", message)[:_MESSAGE_MAX], remedy=remedy)


def placed(fault: LakeError, statement: Statement, lake_uri: str) -> LakeError:
    """A fault of the lake's own, with the statement of a script that it is of, and what helps one who merely asks."""
    remedy = _GONE if is_of_gone_files(fault.got, lake_uri) else fault.remedy
    if not statement.place and remedy == fault.remedy:
        return fault
    operation = f"run {statement.place}: {fault.operation}" if statement.place else fault.operation
    return LakeError(operation, fault.identity, expected=fault.expected, got=fault.got, remedy=remedy)


def is_of_gone_files(text: str, lake_uri: str) -> bool:
    """Whether it says that files of the lake are missing: others remove those of old versions."""
    return _NO_FILE.search(text) is not None and lake_uri.removeprefix("s3://") in text


def shortened(query: str) -> str:
    one_line = " ".join(query.split())
    return one_line if len(one_line) <= _QUERY_MAX else one_line[: _QUERY_MAX - 1] + "…"


def _with_candidates(raw: str, statement: Statement, relations: Sequence[Relation], columns: Columns) -> str:
    """The message, with columns that may have been meant where DuckDB names none: it does so for plain tables only."""
    found = _NO_COLUMN.search(raw)
    if found is None or "Candidate bindings" in raw:
        return raw
    owner = relations_named(saying(statement.text), relations).get(found["owner"].lower())
    names = [name for name, _ in columns(owner)] if owner else []
    close = get_close_matches(found["column"].lower(), names, n=5, cutoff=0.4) or names[:_NAMES_MAX]
    told = f'"{found["owner"]}" does not have a column named "{found["column"]}"'
    return raw.replace(found[0], told + (f" Candidate bindings: {listed(close)}" if close else ""))


def _marked(place: re.Match[str]) -> str:
    """The line with the place marked at which DuckDB stopped."""
    column = len(place["before"]) - len(f"LINE {place['line']}: ")
    text = place["text"]
    return f"{text[:column]}>>> {text[column:]}"


def _remedied(raw: str, relations: Sequence[Relation], lake_uri: str) -> tuple[str, str]:
    """What was said, without what does not hold here, and what to do."""
    if "Out of Memory Error" in raw:
        return raw[raw.index("Out of Memory Error") :].splitlines()[
            0
        ], "Give it more memory by --memory-mb, or ask for fewer columns"
    if wrong := _WRONG_ARGUMENTS.search(raw):
        known = _named(wrong["name"], relations)
        if known is not None:
            return f"arguments that {known.name} does not take{_end(raw)}", f"Call it as {known.call}"
    syntax = _SYNTAX.search(raw)
    if syntax and _named(syntax["name"], relations) and _is_keyword(syntax["name"]):
        return raw, f'SQL has a word of that name: write the table in quotes, "{syntax["name"].lower()}"'
    if _WRITES.search(raw):
        return raw, "A lake is only read: write to a table of your own, CREATE TEMP TABLE … AS …"
    if unknown := _UNKNOWN.search(raw):
        return _unknown_name(unknown["name"], _OWN_WORDS.sub("", raw), relations)
    if scalar := _SCALAR.search(raw):
        known = _named(scalar["name"], relations)
        if known is not None:
            return _OWN_WORDS.sub("", raw), f"It has rows: SELECT … FROM {known.call}"
    if is_of_gone_files(raw, lake_uri):
        return raw, _GONE
    if _NO_FILE.search(raw):
        return raw, "Check the path; what a query may read is in: dynalake status"
    if "No space left" in raw:
        return raw, "See to disk space: what does not fit into memory is written there"
    missing = re.search(r"Values were not provided for the following prepared statement parameters: (.*)", raw)
    if missing:
        return raw, f"Give it by --param {missing[1].split(',')[0].strip()}=VALUE"
    return re.sub(r"Candidate bindings: :", "Candidate bindings:", raw), ""


def _is_keyword(name: str) -> bool:
    return duckdb.tokenize(name)[0][1] == duckdb.token_type.keyword


def _end(raw: str) -> str:
    """Where in the statement it was, as it was told."""
    place = _PLACE.search(raw)
    return "" if place is None else place[0]


def _named(name: str, relations: Sequence[Relation]) -> Relation | None:
    return next((one for one in relations if one.name == name.lower()), None)


def _unknown_name(name: str, message: str, relations: Sequence[Relation]) -> tuple[str, str]:
    known = _named(name, relations)
    if known is not None:  # it is there, and was called as the other of view and macro
        remedy = f"Call it as {known.call}" if known.arguments else f"It takes no arguments: {known.name}"
        return f"no such {'view' if known.arguments else 'macro'}{_end(message)}", remedy
    if not relations:
        return message, "No tables are registered: dynalake add-table NAME --hash-key NAME:TYPE"
    calls = {one.name: one.call for one in relations}
    close = get_close_matches(name.lower(), calls, n=3)
    meant = f"Did you mean {' or '.join(calls[one] for one in close)}? " if close else ""
    return message, f"{meant}There are {listed([one.call for one in relations])}"


def listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_MAX
    return ", ".join(names[:_NAMES_MAX]) + (f" and {more} more" if more > 0 else "")

"""`aws service operation --options …` as the command line of AWS has it, run by boto3.

Names and types come from botocore's own models, so a wrong operation, a wrong option or a value of a wrong type is
refused here as there. Where the stand-in does not know an operation, its parameters were checked all the same: see
`Aws.only_checked`. Of the high-level commands there is `s3 mv` and `s3 rm`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import boto3
import jmespath
from botocore import xform_name
from botocore.exceptions import ClientError, ParamValidationError

from tests.commands import Outcome

REFUSED, USAGE = 254, 252  # AWS CLI User Guide, "Command line return codes"
_GLOBAL = {"query": "", "output": "json", "region": None}
_OTHER_NAMES = {"s3api": "s3"}


class Usage(Exception):
    """A command line that AWS' own would refuse before it sends anything."""


class Aws:
    """Runs commands; `only_checked` are those operations that the stand-in does not have."""

    def __init__(self) -> None:
        self.only_checked = set[str]()

    def __call__(self, words: Sequence[str]) -> Outcome:
        try:
            if words[0] == "s3":
                return _of_s3(words[1:])
            if words[1] == "wait":
                return _wait(words[0], words[2:])
            return self._run(words)
        except (Usage, ParamValidationError) as fault:
            return Outcome(USAGE, "", f"aws: {fault}\n")
        except ClientError as fault:
            return Outcome(REFUSED, "", f"{fault}\n")

    def _run(self, words: Sequence[str]) -> Outcome:
        client = _client(words[0])
        operation = _operation(client, words[1])
        model = client.meta.service_model.operation_model(operation)
        options, settings = parameters(model.input_shape, words[2:])
        if settings["region"]:
            client = _client(words[0], settings["region"])
        try:
            answer = _answer(client, xform_name(operation), options)
        except ClientError as fault:
            if fault.response["Error"]["Code"] != "NotImplemented":
                raise
            self.only_checked.add(f"{words[0]} {words[1]}")
            return Outcome(0, "", "")
        answer.pop("ResponseMetadata", None)
        answer = json.loads(json.dumps(answer, default=_of_json))  # as the command line sees it, times as texts
        if settings["query"]:
            answer = jmespath.search(settings["query"], answer)
        elif model.output_shape is None or not answer:
            return Outcome(0, "", "")
        return Outcome(0, "".join(f"{line}\n" for line in _printed(answer, settings["output"])), "")


def parameters(shape: Any, words: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of a request, and the options of every command. Raises Usage."""
    members = {xform_name(name, "-"): (name, member) for name, member in (shape.members if shape else {}).items()}
    found, settings = dict[str, Any](), dict(_GLOBAL)
    for option, values in _options(words):
        name = option.removeprefix("no-") if option not in members else option
        if option in settings:
            settings[option] = values[0]
        elif name not in members:
            raise Usage(f"Unknown options: --{option}")
        elif members[name][1].type_name == "boolean":
            if values:
                raise Usage(f"Unknown options: {' '.join(values)}, --{option} is a flag")
            found[members[name][0]] = name == option
        elif name != option or not values:
            raise Usage(f"argument --{option}: expected at least one argument")
        else:
            found[members[name][0]] = _typed(members[name][1], values)
    missing = {xform_name(name, "-") for name in (shape.required_members if shape else ()) if name not in found}
    if missing:
        raise Usage(f"the following arguments are required: {', '.join(f'--{name}' for name in sorted(missing))}")
    return found, settings


def _options(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    option, values = "", list[str]()
    for word in words:
        if word.startswith("--"):
            if option:
                yield option, values
            option, values = word[2:], []
        elif not option:
            raise Usage(f"Unknown options: {word}")
        else:
            values.append(word)
    if option:
        yield option, values


def _typed(shape: Any, words: list[str]) -> Any:
    if words[0].startswith("file://"):
        words = [Path(words[0].removeprefix("file://")).read_text(encoding="utf-8")]
    if shape.type_name in ("list", "map", "structure") and words[0].lstrip()[:1] in ("{", "["):
        return json.loads(words[0])
    if shape.type_name == "list":
        return [_of_word(shape.member, word) for word in words]
    if len(words) > 1:
        raise Usage(f"Unknown options: {', '.join(words[1:])}")
    return _of_word(shape, words[0])


def _of_word(shape: Any, word: str) -> Any:
    """A word's value; structures and maps in AWS' shorthand: `Name=TableName,Value=orders`."""
    try:
        match shape.type_name:
            case "structure" | "map":
                pairs = (pair.partition("=") for pair in word.split(","))
                return {key: _of_word(_member(shape, key), value) for key, _, value in pairs}
            case "integer" | "long":
                return int(word)
            case "float" | "double":
                return float(word)
            case "boolean":
                return {"true": True, "false": False}[word.lower()]
            case "timestamp":
                return datetime.fromisoformat(word)
            case "blob":
                return base64.b64decode(word)
            case "list":
                return [_of_word(shape.member, word)]
    except (ValueError, KeyError) as fault:
        raise Usage(f"Invalid value {word!r} for {shape.name}") from fault
    if shape.enum and word not in shape.enum:
        raise Usage(f"{word!r} is none of {', '.join(shape.enum)}")
    return word


def _member(shape: Any, key: str) -> Any:
    if shape.type_name == "map":
        return shape.value
    if key not in shape.members:
        raise Usage(f"Unknown parameter {key!r} of {shape.name}, must be one of: {', '.join(shape.members)}")
    return shape.members[key]


def _client(service: str, region: str | None = None) -> Any:
    """A client of the present session; making one takes longer than most requests."""
    if boto3.DEFAULT_SESSION is None:
        boto3.setup_default_session()
    try:
        return _made(boto3.DEFAULT_SESSION, _OTHER_NAMES.get(service, service), region)
    except Exception as fault:
        raise Usage(f"argument command: Invalid choice {service!r} ({fault})") from fault


@lru_cache(maxsize=32)
def _made(session: Any, service: str, region: str | None) -> Any:
    return session.client(service, region_name=region)


def _operation(client: Any, word: str) -> str:
    names = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
    if word not in names:
        raise Usage(f"argument operation: Invalid choice {word!r}")
    return str(names[word])


def _answer(client: Any, method: str, options: dict[str, Any]) -> dict[str, Any]:
    if client.can_paginate(method):
        return dict(client.get_paginator(method).paginate(**options).build_full_result())
    return dict(getattr(client, method)(**options))


def _wait(service: str, words: Sequence[str]) -> Outcome:
    """`aws dynamodb wait table-exists --table-name …`."""
    client = _client(service)
    name = words[0].replace("-", "_")
    if name not in client.waiter_names:
        raise Usage(f"argument subcommand: Invalid choice {words[0]!r}")
    waiter = client.get_waiter(name)
    model = client.meta.service_model.operation_model(waiter.config.operation)
    waiter.wait(**parameters(model.input_shape, words[1:])[0])
    return Outcome(0, "", "")


def _of_s3(words: Sequence[str]) -> Outcome:
    """`aws s3 mv FROM TO --recursive`, `aws s3 rm FROM --recursive`, and `aws s3 rm OBJECT`."""
    if len(words) == 2 and words[0] == "rm" and (match := re.fullmatch(r"s3://([^/]+)/(.*[^/])", words[1])):
        boto3.client("s3").delete_object(Bucket=match[1], Key=match[2])
        return Outcome(0, f"delete: {words[1]}\n", "")
    verb, *uris, option = words
    if (verb, len(uris), option) not in (("mv", 2, "--recursive"), ("rm", 1, "--recursive")):
        raise Usage("expected: aws s3 mv s3://… s3://… --recursive, or aws s3 rm s3://… --recursive")
    places = [match.groups() for uri in uris if (match := re.fullmatch(r"s3://([^/]+)/(.*)", uri))]
    (bucket, prefix), (to, under) = places[0], places[-1]
    s3, told = boto3.client("s3"), []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for key in (one["Key"] for one in page.get("Contents", ())):
            other = under + key.removeprefix(prefix)
            if verb == "mv":
                s3.copy_object(Bucket=to, Key=other, CopySource={"Bucket": bucket, "Key": key})
            s3.delete_object(Bucket=bucket, Key=key)
            told.append(
                f"move: s3://{bucket}/{key} to s3://{to}/{other}\n"
                if verb == "mv"
                else f"delete: s3://{bucket}/{key}\n"
            )
    return Outcome(0, "".join(told), "")


def _printed(answer: Any, output: str) -> Iterator[str]:
    if output == "json":
        yield json.dumps(answer, indent=4, ensure_ascii=False)
    elif output != "text":
        raise Usage(f"argument --output: Invalid choice {output!r}")
    elif isinstance(answer, list) and any(isinstance(one, list) for one in answer):
        for one in answer:
            yield from _printed(one, output)
    elif isinstance(answer, list) and answer:
        yield "\t".join(map(_text, answer))
    elif isinstance(answer, list):
        return
    elif isinstance(answer, dict):
        raise Usage("expected a --query that gives values or lists of them, for --output text")
    else:
        yield _text(answer)


def _text(value: Any) -> str:
    return str(value)


def _of_json(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)

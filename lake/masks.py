"""Masks: what of an item never lands. Pure; the secret's place is `lake.secret`'s concern.

A mask is a path and what happens to the values at it: `drop` takes the attribute away, `redact` leaves that
there was one, `hash` puts a keyed digest in its stead, the same for equal values, so that masked items can
still be joined and counted. A path is names joined by dots, from a top-level attribute down; lists on the way are
passed through to every element, `*` is any name of a map, and a backslash takes the meaning of the dot, the
star or the backslash behind it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from lake.attributes import KINDS, Image, canonical_number, canonical_value, encode_binary_once
from lake.errors import ConfigError, LakeError
from lake.keys import KeySchema

Action = Literal["drop", "redact", "hash"]
ACTIONS: tuple[Action, ...] = ("drop", "redact", "hash")
REDACTED = "[redacted]"
SECRET_BYTES_MIN = 32
_ANY = None  # the step `*`
_NUMBER_BYTES = 15  # of a digest, as a number: at most 37 digits
_DIGEST_BYTES = 16

Path = tuple[str | None, ...]
# What AWS writes around the images. A masked record keeps these fields and no others; not SizeBytes, which tells
# how long a value was.
_ENVELOPE = {"awsRegion", "eventID", "eventName", "eventSource", "eventSourceARN", "eventVersion", "recordFormat",
             "tableName", "userIdentity"}  # fmt: skip
_BODY = {"ApproximateCreationDateTime", "ApproximateCreationDateTimePrecision", "SequenceNumber", "StreamViewType"}
_IDENTITY = {"type", "principalId"}


@dataclass(frozen=True, slots=True)
class Mask:
    """What is done to the values at a path; `text` is the path as it was written."""

    text: str
    path: Path
    action: Action


def parse_masks(section: Any, keys: KeySchema, place: str) -> tuple[Mask, ...]:
    """The masks of a table from a mapping of paths to actions. Raises ConfigError.

    What takes more away goes first, whatever the order in which they are written: so the order says nothing.
    """
    if not isinstance(section, dict):
        raise ConfigError("read", place, expected='masks such as email = "hash"', got=repr(section))
    masks = []
    for text, action in section.items():
        if action not in ACTIONS:
            raise ConfigError(
                "read", f"{place}, mask {text!r}", expected=f"one of {', '.join(ACTIONS)}", got=repr(action),
                remedy="A name with a dot in it is written in quotes, with a backslash before the dot",
            )  # fmt: skip
        mask = Mask(text, _parse_path(text, place), action)
        if any(mask.path[0] == key.name for key in keys.attributes) and (action != "hash" or len(mask.path) > 1):
            raise ConfigError(
                "read", f"{place}, mask {text!r}", expected="hash, on a key", got=f"{action} on {text!r}",
                remedy="Items without their key, or with one for all, could not be told apart",
            )  # fmt: skip
        masks.append(mask)
    return tuple(sorted(masks, key=lambda mask: (ACTIONS.index(mask.action), mask.text)))


def _parse_path(text: str, place: str) -> Path:
    try:
        text.encode()
    except UnicodeEncodeError as fault:
        raise ConfigError("read", f"{place}, a mask", expected="a path in UTF-8", got="other bytes") from fault
    steps: list[str | None] = []
    name, characters, is_plain = "", iter(text + "."), True
    for character in characters:
        if character == "\\":
            name, is_plain = name + next(characters), False
        elif character == ".":
            if not name:
                raise ConfigError(
                    "read", f"{place}, mask {text!r}", expected="names joined by dots", got="an empty one"
                )
            steps.append(_ANY if name == "*" and is_plain else name)
            name, is_plain = "", True
        else:
            name += character
    if name:  # a backslash took the last dot
        raise ConfigError(
            "read", f"{place}, mask {text!r}", expected="names joined by dots", got="a backslash at the end"
        )
    return tuple(steps)


def masked_keys(masks: tuple[Mask, ...], keys: KeySchema) -> list[str]:
    """The names of the key attributes that are masked, in the order of the key."""
    masked = {mask.path[0] for mask in masks}
    return [attribute.name for attribute in keys.attributes if attribute.name in masked]


def fingerprint(masks: tuple[Mask, ...]) -> str:
    """What a masked record bears, to tell by which masks it was made."""
    rules = "\n".join(f"{mask.action} {mask.text}" for mask in masks)
    return hashlib.sha256(rules.encode()).hexdigest()[:8]


class MaskKey:
    """What a lake's secret is good for: digests of values, and seals for what may hold any value at all.

    Raises ValueError for a secret that could be guessed.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SECRET_BYTES_MIN:
            raise ValueError(f"{len(secret)} bytes, fewer than {SECRET_BYTES_MIN}")
        self._hash, seal_1, seal_2, self._identity, check = (
            hmac.digest(secret, f"dynalake {purpose}".encode(), "sha256")
            for purpose in ("hash", "seal 1", "seal 2", "identity", "check")
        )
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # late, and here: not with the first poison

        self._seal, self.check = AESSIV(seal_1 + seal_2), check.hex()

    def digest(self, kind: str, text: str) -> bytes:
        """32 bytes that equal values of a kind share and others do not."""
        return hmac.digest(self._hash, f"{kind}:{text}".encode(errors="surrogatepass"), "sha256")

    def identity(self, data: bytes) -> str:
        """Tells equal bytes without telling them."""
        return hmac.digest(self._identity, data, "sha256").hex()[:32]

    def seal(self, data: bytes) -> bytes:
        """Encrypts and authenticates (AES-SIV); the same bytes give the same, so that a replay lands the same."""
        return self._seal.encrypt(data + b"\n", None)  # AES-SIV takes no empty text

    def unseal(self, sealed: bytes) -> bytes:
        """The bytes that were sealed; ValueError where they were not sealed with this secret."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._seal.decrypt(sealed, None)[:-1]
        except InvalidTag:
            raise ValueError("not sealed with this secret") from None


class TableMasks:
    """The masks of one table, ready to be applied."""

    def __init__(self, masks: tuple[Mask, ...], keys: KeySchema, key: MaskKey) -> None:
        self._masks, self._key = masks, key
        self._key_names = {attribute.name for attribute in keys.attributes}
        self.fingerprint = fingerprint(masks)
        self.mask_keys = bool(masked_keys(masks, keys))

    def image(self, image: Image, is_binary_twice: bool = False) -> Image:
        """A masked copy of an item, or of its key. Raises ValueError where a path meets what is no DynamoDB JSON.

        `is_binary_twice` where binary is base64-encoded twice, as in records of Kinesis Data Streams for DynamoDB.
        """
        try:
            copy: Image = msgspec.json.decode(msgspec.json.encode(image))
            done: set[int] = set()  # values that are masked already: of two masks for one the first counts
            for mask in self._masks:
                names = None if mask.path[0] is not _ANY else [name for name in copy if name not in self._key_names]
                self._apply(copy, mask.path, self._change(mask.action, is_binary_twice), done, names)
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise ValueError("what a mask is for is no DynamoDB JSON") from None  # the cause may name a value
        return copy

    def item(self, text: bytes, table: str) -> bytes:
        """A masked item as JSON, from an item of a table as JSON. Raises LakeError."""
        try:
            return msgspec.json.encode(self.image(msgspec.json.decode(text)))
        except ValueError as fault:
            raise LakeError("mask items of", table, expected="DynamoDB JSON", got=str(fault)) from fault

    def record(self, record: Mapping[str, Any], is_binary_twice: bool) -> dict[str, Any]:
        """A masked change record: its images, its keys, and of the rest what AWS writes. Raises ValueError."""
        body, identity = record["dynamodb"], record.get("userIdentity")
        masked = {name: value for name, value in body.items() if name in _BODY and _is_scalar(value)}
        for name in ("Keys", "NewImage", "OldImage"):
            if body.get(name) is not None:
                masked[name] = self.image(body[name], is_binary_twice)
        kept = {name: value for name, value in record.items() if name in _ENVELOPE and _is_scalar(value)}
        if isinstance(identity, dict):
            kept["userIdentity"] = {n: value for n, value in identity.items() if n in _IDENTITY and _is_scalar(value)}
        return kept | {"dynamodb": masked}

    def _apply(
        self, image: Any, path: Path, change: Callable[[Any], Any], done: set[int], names: list[str] | None = None
    ) -> None:
        """Changes what is at the path in a map of attribute values, in place."""
        if not isinstance(image, dict):
            raise ValueError("a map that is none")
        step, rest = path[0], path[1:]
        if names is None:
            names = list(image) if step is _ANY else [step] if step in image else []
        for name in names:
            if id(image[name]) in done:
                continue
            if rest:
                self._descend(image[name], rest, change, done)
            elif (changed := change(image[name])) is None:
                del image[name]
            else:
                image[name] = changed
                done.add(id(changed))

    def _descend(self, value: Any, path: Path, change: Callable[[Any], Any], done: set[int]) -> None:
        kind, content = _kind_of(value)
        if kind == "M":
            self._apply(content, path, change, done)
        elif kind == "L":
            if not isinstance(content, list):
                raise ValueError("a list that is none")
            for element in content:
                self._descend(element, path, change, done)

    def _change(self, action: Action, is_binary_twice: bool) -> Callable[[Any], Any]:
        if action == "drop":
            return lambda value: None
        if action == "redact":
            return lambda value: {"S": REDACTED} if _kind_of(value)[0] == "S" else {"NULL": True}
        return lambda value: self._hashed(value, is_binary_twice)

    def _hashed(self, value: Any, is_binary_twice: bool) -> Any:
        kind, content = _kind_of(value)
        if is_binary_twice and kind in ("B", "BS", "M", "L"):
            kind, content = _kind_of(msgspec.json.decode(encode_binary_once(msgspec.json.encode(value).decode())))
        if kind == "NULL":
            return {"NULL": True}
        if kind in ("S", "N", "B"):
            return {kind: self._hashed_text(kind, content, is_binary_twice)}
        if kind in ("SS", "NS", "BS"):
            return {kind: sorted({self._hashed_text(kind[0], element, is_binary_twice) for element in content})}
        text = msgspec.json.encode(canonical_value({kind: content})).decode()
        return {"S": self._key.digest(kind, text)[:_DIGEST_BYTES].hex()}

    def _hashed_text(self, kind: str, text: Any, is_binary_twice: bool) -> str:
        if not isinstance(text, str):
            raise ValueError(f"a value of {kind} that is no text")
        digest = self._key.digest(kind, canonical_number(text) if kind == "N" else text)
        if kind == "N":
            return str(int.from_bytes(digest[:_NUMBER_BYTES], "big"))
        if kind == "S":
            return digest[:_DIGEST_BYTES].hex()
        once = base64.b64encode(digest[:_DIGEST_BYTES])
        return (base64.b64encode(once) if is_binary_twice else once).decode()


def _kind_of(value: Any) -> tuple[str, Any]:
    """Kind and content of an attribute value; ValueError for what is none, without naming what it is."""
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError("an attribute value that is no object of one kind")
    ((kind, content),) = value.items()
    if kind not in KINDS or (kind in ("S", "N", "B") and not isinstance(content, str)):
        raise ValueError("an attribute value of an unknown kind")
    return kind, content


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)

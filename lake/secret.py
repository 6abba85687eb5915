"""The secret behind a lake's masks: where it is kept, and that it is always the same one.

It is no part of the lake. What the lake holds is a check, written once, by which another secret is refused: with
it, equal values would come out different, and what was sealed could not be opened.
"""

from __future__ import annotations

import os

from lake import layout
from lake.aws import aws_client, aws_faults
from lake.errors import ConfigError, LakeError
from lake.lake import Lake
from lake.masks import MaskKey
from lake.store import put_new, read

_ENVIRONMENT = "env:"
_SECRETS_MANAGER = "arn:"
_MAKE = "Make one with: openssl rand -hex 32"


def open_mask_key(lake: Lake) -> MaskKey:
    """The key of the lake's masks. Raises ConfigError where the secret is not there or is another than ever before."""
    place = lake.config.mask_secret
    secret = _read(place)
    try:
        key = MaskKey(secret)
    except ValueError as fault:
        raise ConfigError("read the secret of masks", place, expected="32 bytes or more that nobody can guess",
                          got=str(fault), remedy=_MAKE) from fault  # fmt: skip
    check = lake.place(layout.MASKS_CHECK)
    try:
        found = read(check)
        is_same = found == key.check.encode() or (
            found is None and (put_new(check, key.check.encode()) or read(check) == key.check.encode())
        )
    except OSError as fault:
        raise LakeError("check the secret of masks", check, got=str(fault)) from fault
    if not is_same:
        raise ConfigError(
            "check the secret of masks", place, expected="the one that this lake began with", got="another",
            remedy="Give the old one back: equal values would come out different. A new secret needs a new lake",
        )  # fmt: skip
    return key


def _read(place: str) -> bytes:
    if place.startswith(_ENVIRONMENT):
        secret = os.environ.get(place.removeprefix(_ENVIRONMENT), "")
        if not secret:
            raise ConfigError(
                "read the secret of masks", place, expected="it in that variable, for there are masks in lake.toml",
                got="none", remedy=f'{_MAKE}. Or name one of Secrets Manager: [masks] secret = "arn:…"',
            )  # fmt: skip
        return os.fsencode(secret)
    if place.startswith(_SECRETS_MANAGER):
        with aws_faults("read the secret of masks", place):
            answer = aws_client("secretsmanager").get_secret_value(SecretId=place)
        return bytes(answer["SecretBinary"]) if "SecretBinary" in answer else str(answer["SecretString"]).encode()
    raise ConfigError("read the secret of masks", place, expected="env:VARIABLE, or the ARN of Secrets Manager's",
                      got=place)  # fmt: skip

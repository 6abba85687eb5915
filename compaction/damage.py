"""What can still be had of an object whose compression is damaged: every byte that comes before the damage.

The fast readers give out nothing of the stretch in which they meet the damage, up to all of a small object.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from typing import IO

import zstandard

_STEP_BYTES = 1 << 14
_STEPS_MAX = 1 << 22


def recover(file: IO[bytes], out: IO[bytes]) -> None:
    """Writes anew what stands before the damage; whatever checksum would have vouched for it has not."""
    file.seek(0)
    magic = file.read(2)
    file.seek(0)
    out.seek(0)
    out.truncate()
    with suppress(zlib.error, zstandard.ZstdError):
        (_recover_gzip if magic == b"\x1f\x8b" else _recover_zstd)(file, out)


def _recover_gzip(file: IO[bytes], out: IO[bytes]) -> None:
    member = zlib.decompressobj(31)
    data = file.read(_STEP_BYTES)
    while data:
        before = member.copy()
        try:
            out.write(member.decompress(data))
        except zlib.error:
            for n in range(len(data)):  # until it raises, at the byte that is wrong
                out.write(before.decompress(data[n : n + 1]))
            raise
        data = member.unused_data.lstrip(b"\0") or file.read(_STEP_BYTES)  # members may be padded
        if member.eof:
            member = zlib.decompressobj(31)


def _recover_zstd(file: IO[bytes], out: IO[bytes]) -> None:
    frame = zstandard.ZstdDecompressor().decompressobj()
    # A block comes out whole when its last byte goes in, unless what is wrong goes in with it.
    step = 1 + os.fstat(file.fileno()).st_size // _STEPS_MAX
    data = file.read(step)
    while data:
        out.write(frame.decompress(data))
        data = frame.unused_data or file.read(step)
        if frame.eof:
            frame = zstandard.ZstdDecompressor().decompressobj()

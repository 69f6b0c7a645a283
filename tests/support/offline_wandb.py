"""Reads the file of an offline run of W&B: records of wandb's own protocol in the log format of LevelDB."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

__all__ = ["records_of"]

_HEAD_BYTES, _BLOCK_BYTES, _RECORD_HEAD_BYTES = 7, 1 << 15, 7
_FULL, _FIRST, _LAST = 1, 2, 4


def records_of(path: Path) -> Iterator[bytes]:
    """The records of a file, whole; wandb's version of the format begins with a head of its own."""
    data = path.read_bytes()
    assert data.startswith(b":W&B")
    at, parts = _HEAD_BYTES, b""
    while at + _RECORD_HEAD_BYTES <= len(data):
        left = _BLOCK_BYTES - at % _BLOCK_BYTES
        if left < _RECORD_HEAD_BYTES:
            at += left
            continue
        size, kind = struct.unpack_from("<HB", data, at + 4)
        at += _RECORD_HEAD_BYTES
        parts = data[at : at + size] if kind in (_FULL, _FIRST) else parts + data[at : at + size]
        at += size
        if kind in (_FULL, _LAST):
            yield parts

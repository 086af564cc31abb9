"""The log's columns, packed: about nine bytes an action instead of thirty-six, and decoded without
a Python object per row.

Each column becomes a whole-number difference where that is small (positions, times), is split into
byte planes (all first bytes, then all second bytes, …: runs of equal bytes) and deflated at the
fastest level.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.schema import ActionColumns, IntVector

CHUNK_ROWS = 16_384
FIELDS = ("position", "user_key", "item_key", "action_key", "ts_ms", "value")
TYPES: dict[str, str] = {
    "position": "<i8",
    "user_key": "<u4",
    "item_key": "<u4",
    "action_key": "<i2",
    "ts_ms": "<i8",
    "value": "<f4",
}
DIFFERENCED = {"position", "ts_ms"}


def encode(rows: ActionColumns) -> bytes:
    """Pack columns of one length, shape [M] each; M may be 0."""
    return encode_columns({name: getattr(rows, name) for name in FIELDS}, TYPES)


def encode_columns(columns: dict[str, npt.NDArray[Any]], types: dict[str, str]) -> bytes:
    """Pack the columns that ``types`` names, narrowed to these types, in its order."""
    planes = []
    for name, kind in types.items():
        column = columns[name]
        if name in DIFFERENCED:
            column = np.diff(column, prepend=0)
        narrow = np.ascontiguousarray(column, dtype=kind)
        planes.append(narrow.view(np.uint8).reshape(len(column), narrow.itemsize).T.tobytes())
    return zlib.compress(b"".join(planes), 1)


def decode_columns(packed: bytes, count: int, types: dict[str, str]) -> dict[str, npt.NDArray[Any]]:
    """Unpack what ``encode_columns`` packed, in the types it was packed in.

    Raises
    ------
    ValueError
        If ``packed`` does not hold ``count`` rows.
    """
    try:
        raw = zlib.decompress(packed)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    row_bytes = sum(np.dtype(kind).itemsize for kind in types.values())
    if len(raw) != count * row_bytes:
        raise ValueError(f"{len(raw)} bytes, expected {count * row_bytes} for {count} rows")
    columns: dict[str, npt.NDArray[Any]] = {}
    start = 0
    for name, kind in types.items():
        width = np.dtype(kind).itemsize
        planes = np.frombuffer(raw, np.uint8, count * width, start).reshape(width, count)
        start += count * width
        column = np.ascontiguousarray(planes.T).view(kind).reshape(count)
        columns[name] = np.cumsum(column) if name in DIFFERENCED else column
    return columns


def decode(packed: bytes, count: int) -> ActionColumns:
    """Unpack what ``encode`` packed.

    Raises
    ------
    ValueError
        If ``packed`` does not hold ``count`` rows.
    """
    columns = decode_columns(packed, count, TYPES)
    return ActionColumns(
        position=columns["position"],
        user_key=columns["user_key"].astype(np.int64),
        item_key=columns["item_key"].astype(np.int64),
        action_key=columns["action_key"],
        ts_ms=columns["ts_ms"],
        value=columns["value"],
    )


def take(rows: ActionColumns, which: Any) -> ActionColumns:
    """The rows a slice, mask or index array picks."""
    return ActionColumns(**{name: getattr(rows, name)[which] for name in FIELDS})


def concat(parts: list[ActionColumns]) -> ActionColumns:
    """Rows of several, one after the other; at least one part."""
    if len(parts) == 1:
        return parts[0]
    return ActionColumns(
        **{name: np.concatenate([getattr(p, name) for p in parts]) for name in FIELDS}
    )


def empty() -> ActionColumns:
    """No rows."""
    nothing: IntVector = np.empty(0, np.int64)
    return ActionColumns(
        position=nothing,
        user_key=nothing,
        item_key=nothing,
        action_key=np.empty(0, np.int16),
        ts_ms=nothing,
        value=np.empty(0, np.float32),
    )

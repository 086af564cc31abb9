"""The tokens a feed's items were scored with, small enough to be kept with every request.

TransAct V2 (2025), section 4, "nearest-neighbour feature logging": training reads what serving saw, without ever
loading a lifelong sequence again, so only the tokens selected for the items that were *shown* are written down.
Where we differ: tokens of one request are written once, however many items selected them, and items point to them.
Item vectors are not logged: they are gathered from the generation's table when a token is read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from wayline.errors import InputError
from wayline.ranking.selection import IndexMatrix, RequestTokens
from wayline.storage.sqlite.chunks import decode_columns, encode_columns

_HEAD = struct.Struct(
    "<BHHIII"
)  # version; items, places; tokens, actions among them, bytes of tokens
_VERSION = 1
_TOKEN_TYPES = {"ts_ms": "<i8", "item_key": "<u4", "actions": "<u2", "surface": "u1"}
_ROW_TYPES = {"row": "<i4"}


@dataclass(frozen=True, slots=True)
class SelectedTokens:
    """What was selected for some items of one request.

    Attributes
    ----------
    tokens : RequestTokens
        Only those that are pointed to. Which of them were lifelong or real-time shows in the places of
        ``token_row``; to select from them again would give something else.
    token_row : int32 array, shape [K, T]
        Rows of ``tokens``, -1 for padding.
    """

    tokens: RequestTokens
    token_row: IndexMatrix


def pack_selected(tokens: RequestTokens, token_row: IndexMatrix) -> bytes:
    """Write down the tokens of the items that were shown.

    Parameters
    ----------
    tokens : RequestTokens
        All of the request.
    token_row : int32 array, shape [K, T]
        Rows of the shown items, of what ``select_tokens`` gave.

    Returns
    -------
    bytes
        About 9 a distinct token, the pointers included (20 items, random tokens: 18 kB); :func:`unpack_selected` reads
        them.

    Raises
    ------
    InputError
        If there are more than 65,535 items or places, or rows beyond the tokens.

    Examples
    --------
    >>> tokens = RequestTokens(
    ...     item_idx=np.array([4, 9, 2]), ts_ms=np.array([10, 20, 15]), action_bits=np.array([1, 3, 0], np.uint16),
    ...     surface=np.zeros(3, np.uint8), lifelong_first=0, realtime_first=0, impression_first=2,
    ... )
    >>> read = unpack_selected(pack_selected(tokens, np.array([[-1, 1, 2], [-1, 1, -1]], np.int32)))
    >>> read.token_row.tolist(), read.tokens.item_idx.tolist(), read.tokens.impression_first
    ([[-1, 0, 1], [-1, 0, -1]], [9, 2], 1)
    """
    items, places = token_row.shape
    if max(items, places) > np.iinfo(np.uint16).max or int(token_row.max(initial=-1)) >= len(
        tokens
    ):
        raise InputError(
            f"Got {items:,} items with {places:,} places, rows up to {int(token_row.max(initial=-1)):,} of "
            f"{len(tokens):,} tokens, expected at most 65,535 of each and rows of these tokens: pass what was shown.",
            field="token_row",
        )
    used, place = np.unique(token_row, return_inverse=True)
    kept = used[used >= 0]
    row = place.reshape(-1).astype(np.int64) - (len(used) - len(kept))  # padding becomes -1 again
    columns = encode_columns(
        {
            "ts_ms": tokens.ts_ms[kept],
            "item_key": tokens.item_idx[kept] + 1,
            "actions": tokens.action_bits[kept],
            "surface": tokens.surface[kept],
        },
        _TOKEN_TYPES,
    )
    # neighbours in a part are neighbours in time: their differences are small and often the same
    rows = encode_columns({"row": np.diff(row, prepend=0)}, _ROW_TYPES)
    acted = int((kept < tokens.impression_first).sum())
    return _HEAD.pack(_VERSION, items, places, len(kept), acted, len(columns)) + columns + rows


def unpack_selected(packed: bytes) -> SelectedTokens:
    """Read what :func:`pack_selected` wrote.

    Raises
    ------
    InputError
        If these are not such bytes, whole.
    """
    try:
        version, items, places, count, acted, size = _HEAD.unpack_from(packed)
        if version != _VERSION or acted > count:
            raise ValueError(f"version {version}, {acted} of {count}")
        body = packed[_HEAD.size :]
        columns = decode_columns(body[:size], count, _TOKEN_TYPES)
        row = np.cumsum(decode_columns(body[size:], items * places, _ROW_TYPES)["row"])
        if len(row) and not -1 <= int(row.min()) <= int(row.max()) < count:
            raise ValueError(f"rows {int(row.min())} to {int(row.max())} of {count}")
    except (struct.error, ValueError) as error:
        raise InputError(
            f"Got {len(packed):,} bytes that are no selected tokens ({error}), expected what pack_selected() wrote: "
            "leave this request out."
        ) from None
    tokens = RequestTokens(
        item_idx=columns["item_key"].astype(np.int64) - 1,
        ts_ms=columns["ts_ms"].astype(np.int64),
        action_bits=columns["actions"],
        surface=columns["surface"],
        lifelong_first=0,
        realtime_first=0,
        impression_first=acted,
    )
    return SelectedTokens(tokens, row.astype(np.int32).reshape(items, places))

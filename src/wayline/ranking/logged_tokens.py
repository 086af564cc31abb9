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

from wayline.errors import ConfigError, InputError
from wayline.ranking.selection import IndexMatrix, RequestTokens, TokenShares
from wayline.storage.sqlite.chunks import decode_columns, encode_columns

_MARK = (
    b"sel\xff"  # newest tokens begin with an item's position, whose fourth byte is never that large
)
_VERSION = 1
_HEAD = struct.Struct(
    "<4sBHHHHHIII"
)  # mark, version; items, places of the four parts; tokens, actions among them, bytes of tokens
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
    shares : TokenShares
        How the places are split.
    """

    tokens: RequestTokens
    token_row: IndexMatrix
    shares: TokenShares


def are_selected(packed: bytes) -> bool:
    """Tell these bytes from those of another encoder: whether :func:`pack_selected` wrote them."""
    return packed[: len(_MARK)] == _MARK


def pointed_to(
    tokens: RequestTokens, token_row: IndexMatrix, shares: TokenShares
) -> SelectedTokens:
    """Leave out the tokens that nobody selected.

    >>> tokens = RequestTokens(
    ...     item_idx=np.array([4, 9, 2]), ts_ms=np.array([10, 20, 15]), action_bits=np.array([1, 3, 0], np.uint16),
    ...     surface=np.zeros(3, np.uint8), lifelong_first=0, realtime_first=0, impression_first=2,
    ... )
    >>> found = pointed_to(tokens, np.array([[-1, 1, 2]], np.int32), TokenShares(0, 2, 0, 1))
    >>> found.token_row.tolist(), found.tokens.item_idx.tolist(), found.tokens.impression_first
    ([[-1, 0, 1]], [9, 2], 1)
    """
    used = np.zeros(len(tokens) + 1, np.bool_)
    used[token_row] = True  # padding marks the row behind the last
    kept = np.flatnonzero(used[:-1])
    place = np.full(len(tokens) + 1, -1, np.int32)
    place[kept] = np.arange(len(kept), dtype=np.int32)
    return SelectedTokens(
        RequestTokens(
            tokens.item_idx[kept], tokens.ts_ms[kept], tokens.action_bits[kept], tokens.surface[kept],
            0, 0, int((kept < tokens.impression_first).sum()),
        ),
        place[token_row],
        shares,
    )  # fmt: skip


def pack_selected(
    tokens: RequestTokens, token_row: IndexMatrix, shares: TokenShares | None = None
) -> bytes:
    """Write down the tokens of the items that were shown.

    Parameters
    ----------
    tokens : RequestTokens
        All of the request.
    token_row : int32 array, shape [K, T]
        Rows of the shown items, of what ``select_tokens`` gave.
    shares : TokenShares, optional
        What they were selected with; 96 / 32 / 32 / 32 by default.

    Returns
    -------
    bytes
        About 9 a distinct token, the pointers included (20 items, random tokens: 18 kB); :func:`unpack_selected` reads
        them.

    Raises
    ------
    InputError
        If there are more than 65,535 items or places, rows beyond the tokens, or as many places as the shares have not.

    Examples
    --------
    >>> tokens = RequestTokens(
    ...     item_idx=np.array([4, 9, 2]), ts_ms=np.array([10, 20, 15]), action_bits=np.array([1, 3, 0], np.uint16),
    ...     surface=np.zeros(3, np.uint8), lifelong_first=0, realtime_first=0, impression_first=2,
    ... )
    >>> token_row = np.array([[-1, 1, 2], [-1, 1, -1]], np.int32)
    >>> read = unpack_selected(pack_selected(tokens, token_row, TokenShares(0, 2, 0, 1)))
    >>> read.token_row.tolist(), read.tokens.item_idx.tolist(), read.tokens.impression_first
    ([[-1, 0, 1], [-1, 0, -1]], [9, 2], 1)
    """
    items, places = token_row.shape
    shares = shares or TokenShares()
    last = int(token_row.max(initial=-1))
    if (
        max(items, places) > np.iinfo(np.uint16).max
        or last >= len(tokens)
        or places != shares.total
    ):
        raise InputError(
            f"Got {items:,} items with {places:,} places, rows up to {last:,} of {len(tokens):,} tokens, expected at "
            f"most 65,535 of each, {shares.total:,} places and rows of these tokens: pass what was shown.",
            field="token_row",
        )
    found = pointed_to(tokens, token_row, shares)
    tokens, row = found.tokens, found.token_row.reshape(-1).astype(np.int64)
    columns = encode_columns(
        {
            "ts_ms": tokens.ts_ms,
            "item_key": tokens.item_idx + 1,
            "actions": tokens.action_bits,
            "surface": tokens.surface,
        },
        _TOKEN_TYPES,
    )
    # neighbours in a part are neighbours in time: their differences are small and often the same
    rows = encode_columns({"row": np.diff(row, prepend=0)}, _ROW_TYPES)
    head = (_MARK, _VERSION, items, *shares.places, len(tokens), tokens.impression_first)
    return _HEAD.pack(*head, len(columns)) + columns + rows


def unpack_selected(packed: bytes) -> SelectedTokens:
    """Read what :func:`pack_selected` wrote.

    Raises
    ------
    InputError
        If these are not such bytes, whole.
    """
    try:
        mark, version, items, *split, count, acted, size = _HEAD.unpack_from(packed)
        if mark != _MARK or version != _VERSION or acted > count:
            raise ValueError(f"version {version}, {acted} of {count}")
        shares, places = TokenShares(*split), sum(split)
        body = packed[_HEAD.size :]
        columns = decode_columns(body[:size], count, _TOKEN_TYPES)
        row = np.cumsum(decode_columns(body[size:], items * places, _ROW_TYPES)["row"])
        if len(row) and not -1 <= int(row.min()) <= int(row.max()) < count:
            raise ValueError(f"rows {int(row.min())} to {int(row.max())} of {count}")
    except (struct.error, ValueError, ConfigError) as error:
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
    return SelectedTokens(tokens, row.astype(np.int32).reshape(items, places), shares)

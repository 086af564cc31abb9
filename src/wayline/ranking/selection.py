"""Which tokens a candidate is read against: its nearest of a lifetime, and always the newest.

A history of 16,000 tokens is too long for a transformer, so every candidate gets a short sequence of its own
(TransAct V2 2025, section 3.2, eq. 3)::

    S_all = NN(S_LL, c) ++ S_RT[:r] ++ NN(S_RT[r:], c) ++ NN(S_imp, c)

What the paper leaves open, chosen here (not published): 192 places are cut 96 / 32 / 32 / 32; inside a part tokens
stand **oldest first**, so that under a causal mask a token sees what came before it; a part with fewer tokens than
places is padded **at its front**, so that the last place of a part always holds its newest token and a learned
position means the same for everybody; **no action stands twice**: the real-time sequence is the newest end of the same
log as the lifelong one, so the lifelong part searches everything that the two real-time parts do not hold. A person
with a hundred actions is therefore seen whole.

Nothing is copied per candidate: the answer is positions in one table of tokens per request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.errors import ConfigError, InputError
from wayline.schema import IntVector
from wayline.sequences.select import Table, select_nearest, select_reference
from wayline.sequences.tokens import TokenSequences

IndexMatrix = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TokenShares:
    """How many places each part of a candidate's sequence has.

    The paper uses 192 in all and publishes neither the split nor r; these were chosen, not published.

    Attributes
    ----------
    lifelong : int
        Nearest tokens of the lifelong history, the real-time ones that are already there left out.
    recent : int
        The newest tokens, whatever they resemble (the paper's r).
    realtime : int
        Nearest tokens of the rest of the real-time sequence.
    impression : int
        Nearest tokens of what was shown and not acted on.

    Examples
    --------
    >>> TokenShares().total, TokenShares(recent=64, lifelong=64).total
    (192, 192)
    """

    lifelong: int = 96
    recent: int = 32
    realtime: int = 32
    impression: int = 32

    def __post_init__(self) -> None:
        if min(self.places) < 0 or not self.total:
            raise ConfigError(
                f"Got shares of {self.places} tokens, expected none below 0 and at least one above: "
                "leave them at 96, 32, 32, 32."
            )

    @property
    def places(self) -> tuple[int, int, int, int]:
        """Places of the four parts, in their order in the sequence."""
        return (self.lifelong, self.recent, self.realtime, self.impression)

    @property
    def total(self) -> int:
        """Tokens a candidate has, padding counted."""
        return sum(self.places)

    @property
    def parts(self) -> tuple[slice, slice, slice, slice]:
        """Where the four parts stand in a candidate's sequence."""
        a, b, c, d = self.places
        return (
            slice(0, a),
            slice(a, a + b),
            slice(a + b, a + b + c),
            slice(a + b + c, a + b + c + d),
        )

    @classmethod
    def of_total(cls, total: int, *, impressions: bool = True) -> TokenShares:
        """Cut some places as the default cuts 192, without the impressions' share if there are none; what rounding
        leaves is the lifelong part's.

        >>> TokenShares.of_total(192).places, TokenShares.of_total(50, impressions=False).places
        ((96, 32, 32, 32), (30, 10, 10, 0))
        """
        whole = cls()
        among = whole.total if impressions else whole.total - whole.impression
        recent = min(max(round(total * whole.recent / among), 1), total)
        rest = round(total * whole.realtime / among)
        shown = round(total * whole.impression / among) if impressions else 0
        return cls(total - recent - rest - shown, recent, rest, shown)


@dataclass(frozen=True, slots=True)
class RequestTokens:
    """All tokens of one person for one request, as columns: actions oldest first, then impressions oldest first.

    Attributes
    ----------
    item_idx : int64 array, shape [N]
        Row of each token's item in the generation's table; one beyond the table has no vector.
    ts_ms : int64 array, shape [N]
        UTC milliseconds.
    action_bits : uint16 array, shape [N]
        See ``sequences.tokens.ActionBits``; 0 for impressions.
    surface : uint8 array, shape [N]
        0: unknown.
    lifelong_first, realtime_first, impression_first : int
        Where each sequence begins; both action sequences end where the impressions begin.
    """

    item_idx: IntVector
    ts_ms: IntVector
    action_bits: npt.NDArray[np.uint16]
    surface: npt.NDArray[np.uint8]
    lifelong_first: int
    realtime_first: int
    impression_first: int

    def __len__(self) -> int:
        return len(self.item_idx)

    def until(self, until_ts_ms: int) -> tuple[int, int]:
        """Give where actions and impressions end that are not later than a moment."""
        first = self.impression_first
        acted = np.searchsorted(self.ts_ms[:first], until_ts_ms, side="right")
        shown = np.searchsorted(self.ts_ms[first:], until_ts_ms, side="right")
        return int(acted), first + int(shown)


def request_tokens(sequences: TokenSequences) -> RequestTokens:
    """Lay out a person's three sequences as the one table that selections point into.

    Parameters
    ----------
    sequences : TokenSequences
        ``lifelong`` and ``realtime`` are newest ends of the same tokens, as ``token_sequences`` makes them.

    Raises
    ------
    InputError
        If neither of the two is the end of the other, or tokens are not oldest first.

    Examples
    --------
    >>> from wayline.sequences.tokens import TOKEN
    >>> tokens = np.array([(8, 10, 1, 0, 1), (5, 20, 2, 0, 1), (8, 30, 1, 0, 1)], TOKEN)
    >>> laid = request_tokens(TokenSequences(tokens, tokens[1:], tokens[:0]))
    >>> laid.item_idx.tolist(), laid.realtime_first, laid.impression_first
    ([7, 4, 7], 1, 3)
    """
    one, other = sequences.lifelong, sequences.realtime
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    if len(shorter) and not np.array_equal(longer[len(longer) - len(shorter) :], shorter):
        raise InputError(
            f"Got {len(one):,} lifelong and {len(other):,} real-time tokens of which neither ends with the other, "
            "expected two views of one history: make them with token_sequences().",
            field="sequences",
        )
    for name, tokens in (("lifelong", longer), ("impression", sequences.impression)):
        if (tokens["ts_ms"][1:] < tokens["ts_ms"][:-1]).any():
            raise InputError(
                f"Got {name} tokens out of order, expected oldest first: sort them by ts_ms.",
                field=name,
            )
    acted, shown = len(longer), sequences.impression

    def column(name: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        out = np.empty(acted + len(shown), dtype)
        out[:acted], out[acted:] = longer[name], shown[name]
        return out

    return RequestTokens(
        item_idx=column("item_key", np.int64) - 1,
        ts_ms=column("ts_ms", np.int64),
        action_bits=column("actions", np.uint16),
        surface=column("surface", np.uint8),
        lifelong_first=acted - len(one),
        realtime_first=acted - len(other),
        impression_first=acted,
    )


def select_tokens(
    tokens: RequestTokens,
    table: Table,
    candidates: npt.ArrayLike,
    shares: TokenShares | None = None,
    *,
    until_ts_ms: int | None = None,
    threads: int | None = None,
) -> IndexMatrix:
    """Choose every candidate's tokens: the paper's S_all (eq. 3), as positions in the request's table.

    Parameters
    ----------
    tokens : RequestTokens
    table : int8 array, shape [N, D]
        Item vectors as ``embeddings.linear.quantise`` makes them.
    candidates : int array, shape [C], or float array, shape [C, D]
        Items of the table, or vectors; see ``sequences.select.select_nearest``.
    shares : TokenShares, optional
        96 / 32 / 32 / 32 by default.
    until_ts_ms : int, optional
        Tokens later than this are not there: neither selected nor counted among the newest.
    threads : int, optional
        Passed to ``select_nearest``; does not change the answer.

    Returns
    -------
    int32 array, shape [C, T], T = ``shares.total``
        Lifelong part, newest, nearest of the real-time rest, nearest impressions; oldest first in each, -1 for
        padding at the front of each. Tokens whose item has no vector stand among the newest only.

    Raises
    ------
    BadVectorError, DimensionMismatchError, InputError
        As ``select_nearest``.

    Notes
    -----
    All of the time goes into the search of the lifelong part, ``O(S C D)``. Its ``k`` is larger by the real-time
    share, because what the real-time part took is dropped afterwards, candidate by candidate.

    Examples
    --------
    >>> from wayline.sequences.tokens import TOKEN
    >>> table = np.array([[100, 0], [0, 100], [90, 30]], np.int8)
    >>> acted = np.array([(1, 10, 1, 0, 1), (2, 20, 1, 0, 1), (3, 30, 1, 0, 1), (2, 40, 1, 0, 1)], TOKEN)
    >>> laid = request_tokens(TokenSequences(acted, acted[2:], acted[:0]))
    >>> select_tokens(laid, table, [0, 1], TokenShares(lifelong=1, recent=1, realtime=1, impression=1)).tolist()
    [[0, 3, 2, -1], [1, 3, 2, -1]]
    """
    from wayline.ranking._selection_kernels import arrange

    shares = shares or TokenShares()
    parts = _Parts.of(tokens, shares, until_ts_ms)
    found = [
        select_nearest(
            tokens.item_idx[first:last],
            tokens.ts_ms[first:last],
            table,
            candidates,
            k,
            threads=threads,
        ).token_idx
        for first, last, k in (parts.lifelong, parts.realtime, parts.impression)
    ]
    token_row = np.empty((len(found[0]), shares.total), np.int32)
    first = [parts.lifelong[0], *parts.recent, parts.realtime[0], parts.impression[0]]
    lifelong, realtime, impression = found
    at, places = np.array(first, np.int64), np.array(shares.places, np.int64)
    arrange(lifelong, realtime, impression, at, parts.impression[1], places, token_row)
    return token_row


def select_tokens_reference(
    tokens: RequestTokens,
    table: Table,
    candidates: npt.ArrayLike,
    shares: TokenShares | None = None,
    *,
    until_ts_ms: int | None = None,
) -> IndexMatrix:
    """The readable twin of :func:`select_tokens`: all products and sorts, then lists. For tests."""
    shares = shares or TokenShares()
    parts = _Parts.of(tokens, shares, until_ts_ms)

    def nearest(first: int, last: int) -> list[list[int]]:
        everything = select_reference(
            tokens.item_idx[first:last], tokens.ts_ms[first:last], table, candidates, last - first
        )
        return [[first + int(at) for at in row if at >= 0] for row in everything.token_idx]

    def placed(rows: list[int], places: int) -> list[int]:
        rows = sorted(rows[:places])
        return [-1] * (places - len(rows)) + rows

    lifelong, realtime, impression = (
        nearest(first, last)
        for first, last, _ in (parts.lifelong, parts.realtime, parts.impression)
    )
    chosen = []
    for c in range(len(lifelong)):
        near = realtime[c][: shares.realtime]
        chosen.append(
            placed([row for row in lifelong[c] if row not in near], shares.lifelong)
            + placed(list(range(*parts.recent)), shares.recent)
            + placed(near, shares.realtime)
            + placed(impression[c], shares.impression)
        )
    return np.array(chosen, np.int32).reshape(len(chosen), shares.total)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Rows ``(first, last, k)`` in which each part searches, and the newest ones ``(first, last)``."""

    lifelong: tuple[int, int, int]
    recent: tuple[int, int]
    realtime: tuple[int, int, int]
    impression: tuple[int, int, int]

    @classmethod
    def of(cls, tokens: RequestTokens, shares: TokenShares, until_ts_ms: int | None) -> _Parts:
        acted, shown = tokens.impression_first, len(tokens)
        if until_ts_ms is not None:
            acted, shown = tokens.until(until_ts_ms)
        recent = max(min(tokens.realtime_first, acted), acted - shares.recent)
        realtime = min(tokens.realtime_first, recent)
        lifelong = min(tokens.lifelong_first, recent)
        k_realtime = min(shares.realtime, recent - realtime)
        k_lifelong = (
            0 if not shares.lifelong else min(shares.lifelong + k_realtime, recent - lifelong)
        )
        return cls(
            lifelong=(lifelong, recent, k_lifelong),
            recent=(recent, acted),
            realtime=(realtime, recent, k_realtime),
            impression=(
                tokens.impression_first,
                shown,
                min(shares.impression, shown - tokens.impression_first),
            ),
        )

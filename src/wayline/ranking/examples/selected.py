"""A sequence as selected tokens: for every candidate those of a whole history that are nearest to it.

What TransAct V2 reads. A request keeps the tokens that at least one of its candidates selected, once, and every
candidate a row of pointers to them: a history of 16,000 actions costs an example no more than what is read of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from wayline.config import SequencesConfig
from wayline.embeddings.linear import quantise_rows
from wayline.errors import InputError
from wayline.ranking.logged_tokens import (
    SelectedTokens,
    are_selected,
    pack_selected,
    pointed_to,
    unpack_selected,
)
from wayline.ranking.selection import RequestTokens, TokenShares, request_tokens, select_tokens
from wayline.schema import FloatMatrix, ImpressionColumns, IntVector
from wayline.sequences.person import ActionVectors
from wayline.sequences.tokens import ActionBits, token_sequences

NOBODY_SHOWN = ImpressionColumns(*(np.zeros(0, np.int64) for _ in range(4)))


@dataclass(frozen=True, slots=True)
class Selections:
    """The selected tokens of some requests (R) with their candidates (T rows in all).

    Attributes
    ----------
    shares : TokenShares
        How the places of a row are split.
    begin : int64 array, shape [R + 1]
        Tokens ``begin[r]`` to ``begin[r + 1]`` are of request r: actions oldest first, then impressions.
    item_idx : int32 array, shape [M]
    ts_ms : int64 array, shape [M]
    action_bits : uint16 array, shape [M]
        0 for impressions.
    token_row : int16 or int32 array, shape [T, places]
        Counted from the first token of the candidate's request; -1 for padding.
    """

    shares: TokenShares
    begin: IntVector
    item_idx: npt.NDArray[np.int32]
    ts_ms: IntVector
    action_bits: npt.NDArray[np.uint16]
    token_row: npt.NDArray[np.signedinteger[npt.NBitBase]]

    @classmethod
    def of(cls, found: SelectedTokens) -> Selections:
        """Take what was selected for the candidates of one request."""
        tokens = found.tokens
        small = np.int16 if len(tokens) <= np.iinfo(np.int16).max else np.int32
        return cls(
            found.shares,
            np.array([0, len(tokens)]),
            tokens.item_idx.astype(np.int32),
            tokens.ts_ms,
            tokens.action_bits,
            found.token_row.astype(small),
        )

    @classmethod
    def empty(cls, shares: TokenShares) -> Selections:
        """Nothing of no request."""
        nothing = np.zeros(0, np.int64)
        return cls(
            shares, np.zeros(1, np.int64), nothing.astype(np.int32), nothing, nothing.astype(np.uint16),
            np.zeros((0, shares.total), np.int16),
        )  # fmt: skip

    @property
    def count(self) -> IntVector:
        """How many tokens each request has, shape [R]."""
        return np.diff(self.begin)

    def of_one(self) -> SelectedTokens:
        """Give the only request's tokens as the scorer takes them."""
        assert len(self.begin) == 2
        acted = int((self.action_bits != 0).sum())
        surface = np.zeros(len(self.item_idx), np.uint8)
        item_idx = self.item_idx.astype(np.int64)
        tokens = RequestTokens(item_idx, self.ts_ms, self.action_bits, surface, 0, 0, acted)
        return SelectedTokens(tokens, self.token_row.astype(np.int32), self.shares)

    def take(self, requests: IntVector, rows: IntVector) -> Selections:
        """Give the tokens of some requests; ``rows`` are their candidates."""
        count = self.count[requests]
        begin = np.concatenate([[0], np.cumsum(count)])
        at = np.repeat(self.begin[requests] - begin[:-1], count) + np.arange(begin[-1])
        return Selections(
            self.shares, begin, self.item_idx[at], self.ts_ms[at], self.action_bits[at], self.token_row[rows],
        )  # fmt: skip

    @staticmethod
    def joined(blocks: Sequence[Selections]) -> Selections:
        """Put the tokens of requests below each other; the shares must be the same."""
        shares = blocks[0].shares
        assert all(b.shares == shares for b in blocks)
        count = np.concatenate([b.count for b in blocks])
        return Selections(
            shares,
            np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
            *(
                np.concatenate([getattr(b, name) for b in blocks])
                for name in ("item_idx", "ts_ms", "action_bits", "token_row")
            ),
        )

    def pack(self, rows: IntVector) -> bytes:
        """Give the tokens of some candidates of the only request as bytes; -1 for a candidate that was not scored."""
        found = self.of_one()
        token_row = found.token_row[rows]
        token_row[rows < 0] = -1
        return pack_selected(found.tokens, token_row, self.shares)


@dataclass(frozen=True)
class Selecting:
    """Reads a person's whole history, and of it for each candidate what :func:`select_tokens` finds (TransAct V2).

    Parameters
    ----------
    shares : TokenShares
    action_names : tuple of str
        ``action_key - 1`` is the index; actions with later names are left out.
    sequences : SequencesConfig
        How long a history is, and which actions become one token.
    vectors : float32 array, shape [N, D]
        Items in the space that nearness is measured in, and ``table``, their int8 form; set by :meth:`over`.
    threads : int, optional
        Of one selection.
    """

    shares: TokenShares
    action_names: tuple[str, ...]
    sequences: SequencesConfig
    threads: int | None = None
    vectors: FloatMatrix = field(
        default_factory=lambda: np.zeros((0, 1), np.float32), compare=False, repr=False
    )
    table: npt.NDArray[np.int8] = field(
        default_factory=lambda: np.zeros((0, 1), np.int8), compare=False, repr=False
    )

    def over(self, table: FloatMatrix) -> Selecting:
        """Read over the items of a space, shape [N, D]."""
        return replace(self, vectors=table, table=quantise_rows(table))

    def history(
        self, actions: ActionVectors, shown: Callable[[], ImpressionColumns]
    ) -> RequestTokens:
        """Make tokens of a person's actions, oldest first, and of what they were shown, both up to the moment.

        ``shown`` is not asked where impressions have no share.
        """
        bits = ActionBits(self.action_names)
        known = actions.action_key <= len(self.action_names)
        if not known.all():
            actions = ActionVectors(
                actions.item_key[known], actions.action_key[known], actions.ts_ms[known], actions.position[known]
            )  # fmt: skip
        impressions = shown() if self.shares.impression else NOBODY_SHOWN
        laid = request_tokens(token_sequences(actions, impressions, bits, self.sequences))
        return replace(laid, surface=np.zeros(len(laid), np.uint8))  # not read: docs/ranking.md

    def block(self, history: RequestTokens, item_idx: IntVector) -> Selections:
        """Select the tokens of some candidates of one request."""
        known = item_idx < len(self.vectors)
        candidates = np.zeros((len(item_idx), self.vectors.shape[1]), np.float32)
        candidates[known] = self.vectors[item_idx[known]]
        token_row = select_tokens(
            history, self.table, candidates, self.shares, threads=self.threads
        )
        return Selections.of(pointed_to(history, token_row, self.shares))

    def joined(self, blocks: Sequence[Selections]) -> Selections:
        """Put the tokens of requests below each other; there may be none."""
        return Selections.joined([Selections.empty(self.shares), *blocks])

    def unpack(self, packed: bytes, rows: IntVector) -> Selections | None:
        """Read what was logged for some impressions of a request; None if it was not selected as here."""
        if not are_selected(packed):
            return None
        try:
            found = unpack_selected(packed)
        except InputError:  # damaged, or of another version: as if it had not been scored
            return None
        if found.shares != self.shares or len(found.token_row) <= int(rows.max(initial=-1)):
            return None
        shown = found.token_row[rows]
        return Selections.of(pointed_to(found.tokens, shown, self.shares))

"""The two ways in which encoders read a person; everything between the log and a batch goes through one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from wayline.config import SequencesConfig
from wayline.ranking.examples.newest import Newest, Tokens
from wayline.ranking.examples.selected import Selecting, Selections
from wayline.ranking.selection import TokenShares
from wayline.schema import FloatMatrix, ImpressionColumns, IntVector
from wayline.sequences.person import ActionVectors

Block = Tokens | Selections
"""What the candidates of some requests are read against, beside the examples' own columns: ``take``, ``joined``."""


class SequenceReading(Protocol):
    """A way to read a person: :class:`Newest` or :class:`Selecting`, the same in training and in serving."""

    def over(self, table: FloatMatrix) -> SequenceReading:
        """Read over the items of a space, shape [N, D]."""
        ...

    def history(self, actions: ActionVectors, shown: Callable[[], ImpressionColumns]) -> Any:
        """Keep what one request reads of a person's actions, oldest first, and of what they were shown."""
        ...

    def block(self, history: Any, item_idx: IntVector) -> Block:
        """Give what some candidates of that request are read against."""
        ...

    def joined(self, blocks: Sequence[Any]) -> Block:
        """Put blocks below each other; there may be none."""
        ...

    def unpack(self, packed: bytes, rows: IntVector) -> Block | None:
        """Read what was logged for some impressions of a request; None if it was read in another way."""
        ...


SELECTS = frozenset({"transact_v2"})  # encoders that read selected tokens; all others the newest


def reading_of(
    tokens: int,
    places: Sequence[int],
    action_names: tuple[str, ...],
    sequences: SequencesConfig,
    *,
    threads: int = 0,
) -> SequenceReading:
    """Give the reading of a ranker: of selected tokens if it has ``places``, else of its newest ``tokens``."""
    if not places:
        return Newest(tokens)
    return Selecting(TokenShares(*places), action_names, sequences, threads or None)


def joined(blocks: Sequence[Any]) -> Block:
    """Put blocks of one kind below each other; at least one."""
    found: Block = type(blocks[0]).joined(blocks)
    return found

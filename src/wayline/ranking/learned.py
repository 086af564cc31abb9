"""A trained ranker in a generation's folder: written by training, read for serving, carried to the next build.

The folder ``ranker/`` holds ``model.safetensors`` (weights), ``ranker.json`` (sizes, heads, features, calibration, and
how it was trained), ``space.npz`` and ``items.npz`` (the items as the ranker reads them), and ``card.md`` for people.
Importing this module loads no torch; opening a ranker does.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wayline.config import SequencesConfig
from wayline.errors import RankerError, WaylineError
from wayline.ranking.description import Description, card_text, with_utility
from wayline.ranking.examples.heads import Heads
from wayline.ranking.examples.readings import Block, SequenceReading, reading_of
from wayline.ranking.examples.requests import Examples
from wayline.ranking.features import FEATURES
from wayline.ranking.sharing import log_utility
from wayline.ranking.spaces import Space
from wayline.ranking.training.inputs import ItemInputs
from wayline.schema import BoolVector, FloatMatrix, FloatVector, IntVector

if TYPE_CHECKING:
    from wayline.ranking.modules.ranker import Ranker

FOLDER = "ranker"
WEIGHTS, DESCRIPTION, SPACE, ITEMS, CARD = (
    "model.safetensors", "ranker.json", "space.npz", "items.npz", "card.md"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ranked:
    """A ranker's answer for the candidates of one request.

    Attributes
    ----------
    score : float32 array, shape [C]
        Logarithm of the utility, stretched to the recipe's scale: one more means e times as likely to be the next item
        taken. Diversity, interests and fatigue are weighed on that scale.
    probabilities : float32 array, shape [C, H]
    read : Tokens or Selections, optional
        What the candidates were read against, to be logged with those that are shown.
    """

    score: FloatVector
    probabilities: FloatMatrix
    read: Block | None = None


class LearnedRanker:
    """A trained ranker with its items, ready to score. Safe to use from several threads.

    Parameters
    ----------
    ranker : Ranker
        Trained.
    description : Description
    space : Space
    table : float32 array, shape [N, d]
        The generation's items in the ranker's space.
    known : bool array, shape [N]
        Items whose id was learned.
    dtype : {"auto", "float32", "bfloat16"}
        Of the matrix products while serving.
    threads : int
        Of one scoring; 0 for all cores.
    sequences : SequencesConfig, optional
        How long a history is and which actions become one token, for an encoder that selects tokens.
    """

    def __init__(
        self,
        ranker: Ranker,
        description: Description,
        space: Space,
        table: FloatMatrix,
        known: BoolVector,
        *,
        dtype: Any = "auto",
        threads: int = 0,
        sequences: SequencesConfig | None = None,
    ) -> None:
        from wayline.ranking.training.scoring import fast_twin

        if threads:
            import torch

            # Of the process: what is not in the twin's kernels runs on torch's own threads.
            torch.set_num_threads(threads)
        self.ranker = ranker.eval()
        self.description, self.space = description, space
        # Probabilities over all moments lie closer together than the odds within one: calibration divides by that.
        wishes = [s for s, w in zip(description.scale, self.heads.worth, strict=True) if w > 0]
        self._stretch = float(np.median(wishes)) if wishes else 1.0
        self._twin = fast_twin(ranker.encoder, dtype=dtype, threads=threads or None)
        self.reading: SequenceReading = reading_of(
            description.tokens, description.places, description.action_names,
            sequences or SequencesConfig(), threads=threads,
        )  # fmt: skip
        self._read_over(table, known)

    def _read_over(self, table: FloatMatrix, known: BoolVector) -> None:
        """Take the items of a generation."""
        self.table, self.known = table, known
        self.reading = self.reading.over(table)
        self._items = ItemInputs([table], known, len(self.description.action_names))

    @property
    def heads(self) -> Heads:
        """What it foretells."""
        return self.description.heads

    @property
    def path(self) -> str:
        """Which scorer serves; "module" is the plain one."""
        return "module" if self._twin is None else self._twin.path

    def score(
        self,
        features: FloatMatrix,
        base: FloatVector,
        item_idx: IntVector,
        history: Any,
        at_ts_ms: int,
    ) -> Ranked:
        """Score the candidates of one request.

        Parameters
        ----------
        features : float32 array, shape [C, F]
            As ``read_features`` gives them.
        base : float32 array, shape [C]
            The recipe's score, from the same features.
        item_idx : int64 array, shape [C]
        history : Tokens or RequestTokens
            What ``reading.history`` kept of the person.
        at_ts_ms : int
        """
        n = len(item_idx)
        block = self.reading.block(history, item_idx)
        request = Examples(
            at_ts_ms=np.array([at_ts_ms]),
            user_idx=np.zeros(1, np.int64),
            begin=np.array([0, n]),
            space=np.zeros(1, np.int32),
            between=np.zeros(1, bool),
            tokens=block,
            item_idx=item_idx,
            features=features,
            base=base,
            labels=np.zeros((n, len(self.heads)), np.float32),
            weight=np.ones(n, np.float32),
        )
        return replace(self.answer(self.logits(request)), read=block)

    def logits(self, examples: Examples) -> FloatMatrix:
        """Give the logits of requests, one after the other by the fast scorer, shape [T, H]."""
        from wayline.ranking.training.scoring import score_by_request

        return score_by_request(self.ranker, self._twin, examples, self._items)

    def answer(self, logits: FloatMatrix) -> Ranked:
        """Turn logits [T, H] into what a request is answered with."""
        probabilities = calibrated(logits, self.description.scale, self.description.shift)
        score = log_utility(probabilities, self.heads.weight) / self._stretch
        return Ranked(score.astype(np.float32), probabilities.astype(np.float32))

    def over(self, vectors: FloatMatrix) -> LearnedRanker:
        """Give the same ranker over the vectors of a generation, shape [N, D]."""
        known = np.zeros(len(vectors), bool)
        known[: len(self.known)] = self.known[: len(vectors)]
        twin = copy.copy(self)
        twin._read_over(self.space.table(vectors), known)
        return twin

    def serving_in(self, regimes: Mapping[str, float]) -> LearnedRanker:
        """Give the same ranker with a share of the order in some regimes."""
        twin = copy.copy(self)
        twin.description = replace(self.description, regimes=dict(regimes))
        return twin

    def weighing(self, utility: Mapping[str, float]) -> LearnedRanker:
        """Give the same ranker with other weights of some heads; a few microseconds."""
        if not utility:
            return self
        twin = copy.copy(self)
        twin.description = with_utility(self.description, utility)
        return twin

    def with_card(self, card: Mapping[str, Any]) -> LearnedRanker:
        """Give the same ranker with another model card."""
        twin = copy.copy(self)
        twin.description = replace(self.description, card=card)
        return twin

    def save(self, folder: Path) -> None:
        """Write the ranker's folder, which must be there."""
        from safetensors.torch import save_file

        state = {k: v.detach().cpu().contiguous() for k, v in self.ranker.state_dict().items()}
        save_file(state, folder / WEIGHTS)
        _write(folder, self.description, self.space, self.table, self.known)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        dtype: Any = "auto",
        threads: int = 0,
        sequences: SequencesConfig | None = None,
    ) -> LearnedRanker:
        """Read a ranker's folder.

        Parameters
        ----------
        folder : Path
        dtype, threads, sequences
            As of the class.

        Raises
        ------
        RankerError
            If a file is missing, damaged, or of another version.
        """
        try:
            from safetensors.torch import load_file

            from wayline.ranking.modules.ranker import Ranker, RankerConfig

            description, space, table, known = _read(folder)
            ranker = Ranker(RankerConfig.from_dict(description.model))
            ranker.load_state_dict(load_file(folder / WEIGHTS))
            return cls(
                ranker, description, space, table, known, dtype=dtype, threads=threads, sequences=sequences
            )  # fmt: skip
        except RankerError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, WaylineError) as error:
            raise _damaged(folder, error) from None
        except Exception as error:  # safetensors has an error of its own
            raise _damaged(folder, error) from None


def calibrated(
    logits: FloatMatrix, scale: tuple[float, ...], shift: tuple[float, ...]
) -> npt.NDArray[np.float64]:
    """Turn logits into probabilities, shape [T, H]."""
    z = logits.astype(np.float64) * np.array(scale) + np.array(shift)
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -50, 50))))


def carry(source: Path, target: Path, vectors: FloatMatrix) -> bool:
    """Take the ranker of one generation over to the next: the same weights, the new items turned into its space.

    Parameters
    ----------
    source, target : Path
        Folders of generations; ``target`` is being made.
    vectors : float32 array, shape [N, D]
        Of the new generation.

    Returns
    -------
    bool
        Whether there was one that this version can read.
    """
    folder = source / FOLDER
    if not (folder / DESCRIPTION).exists():
        return False
    try:
        description, space, _, known = _read(folder)
        weights = (folder / WEIGHTS).read_bytes()
    except (OSError, RankerError, ValueError, KeyError, TypeError):
        return False
    if description.features != FEATURES:
        return False
    (target / FOLDER).mkdir()
    (target / FOLDER / WEIGHTS).write_bytes(weights)
    learned = np.zeros(len(vectors), bool)
    learned[: min(len(known), len(learned))] = known[: len(learned)]
    _write(target / FOLDER, description, space, space.table(vectors), learned)
    return True


def _write(
    folder: Path, description: Description, space: Space, table: FloatMatrix, known: BoolVector
) -> None:
    (folder / DESCRIPTION).write_text(json.dumps(description.to_dict(), indent=2) + "\n", "utf-8")
    (folder / CARD).write_text(card_text(description), "utf-8")
    np.savez(folder / SPACE, basis=space.basis, reference=space.reference.astype(np.float16))
    np.savez(folder / ITEMS, table=table, known=known)


def _read(folder: Path) -> tuple[Description, Space, FloatMatrix, BoolVector]:
    description = Description.from_dict(json.loads((folder / DESCRIPTION).read_text("utf-8")))
    if description.features != FEATURES:
        raise RankerError(
            f"The ranker reads {len(description.features)} features, this version makes {len(FEATURES)} others: run "
            "`wayline train`."
        )
    with np.load(folder / SPACE) as space, np.load(folder / ITEMS) as items:
        return (
            description,
            Space(space["basis"], space["reference"].astype(np.float32)),
            items["table"],
            items["known"],
        )


def _damaged(folder: Path, error: Exception) -> RankerError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return RankerError(
        f"The ranker of {folder.parent.name} cannot be read ({said}): run `wayline train`, or `wayline rollback`."
    )

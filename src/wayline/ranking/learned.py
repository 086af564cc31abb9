"""A trained ranker in a generation's folder: written by training, read for serving, carried to the next build.

The folder ``ranker/`` holds ``model.safetensors`` (weights), ``ranker.json`` (sizes, heads, features, calibration, and
how it was trained), ``space.npz`` and ``items.npz`` (the items as the ranker reads them), and ``card.md`` for people.
Importing this module loads no torch; opening a ranker does.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wayline.errors import RankerError, WaylineError
from wayline.ranking.examples.heads import Heads
from wayline.ranking.examples.requests import Examples, Tokens
from wayline.ranking.features import FEATURES
from wayline.ranking.sharing import log_utility
from wayline.ranking.spaces import Space
from wayline.schema import BoolVector, FloatMatrix, FloatVector, IntVector

if TYPE_CHECKING:
    from wayline.ranking.modules.ranker import Ranker

FOLDER = "ranker"
WEIGHTS, DESCRIPTION, SPACE, ITEMS, CARD = (
    "model.safetensors", "ranker.json", "space.npz", "items.npz", "card.md"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Description:
    """What a ranker is and how it came about, as it stands in ``ranker.json``.

    Attributes
    ----------
    model : mapping
        A ``RankerConfig`` as plain values.
    heads : Heads
    features : tuple of str
        Names in the order the ranker reads them.
    action_names : tuple of str
        ``action_key - 1`` is the index; later names are left out of its sequences.
    tokens : int
        S, the newest actions it reads.
    scale, shift : tuple of float, length H
        Calibration: ``P = sigmoid(scale * logit + shift)``.
    card : mapping
        Data window, settings and metrics.
    regimes : mapping of str to float
        Where it beats the recipe, and which share of the order it has there (``sharing.py``); elsewhere the recipe's
        order stands.
    """

    model: Mapping[str, Any]
    heads: Heads
    features: tuple[str, ...]
    action_names: tuple[str, ...]
    tokens: int
    scale: tuple[float, ...]
    shift: tuple[float, ...]
    card: Mapping[str, Any]
    regimes: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        heads = {name: _plain(value) for name, value in asdict(self.heads).items()}
        return {**{k: getattr(self, k) for k in self.__slots__}, "heads": heads}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Description:
        """Read what ``to_dict`` wrote, also through JSON."""
        heads = data["heads"]
        return cls(
            data["model"],
            Heads(
                tuple(heads["names"]),
                np.array(heads["action_key"], np.int64),
                np.array(heads["window_ms"], np.int64),
                np.array(heads["worth"], np.float32),
                np.array(heads["weight"], np.float32),
            ),
            tuple(data["features"]),
            tuple(data["action_names"]),
            int(data["tokens"]),
            tuple(data["scale"]),
            tuple(data["shift"]),
            data["card"],
            dict(data["regimes"]),
        )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


@dataclass(frozen=True, slots=True)
class Ranked:
    """A ranker's answer for the candidates of one request.

    Attributes
    ----------
    score : float32 array, shape [C]
        Logarithm of the utility, stretched to the recipe's scale: one more means e times as likely to be the next item
        taken. Diversity, interests and fatigue are weighed on that scale.
    probabilities : float32 array, shape [C, H]
    """

    score: FloatVector
    probabilities: FloatMatrix


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
    ) -> None:
        from wayline.ranking.modules.transact import TransAct
        from wayline.ranking.scorer.transact import TransActScorer

        self.ranker = ranker.eval()
        self.description, self.space, self.table, self.known = description, space, table, known
        # Probabilities over all moments lie closer together than the odds within one: calibration divides by that.
        wishes = [s for s, w in zip(description.scale, self.heads.worth, strict=True) if w > 0]
        self._stretch = float(np.median(wishes)) if wishes else 1.0
        encoder = ranker.encoder
        self._scorer = (
            TransActScorer(encoder, dtype=dtype, threads=threads or None)
            if isinstance(encoder, TransAct)
            else None
        )

    @property
    def heads(self) -> Heads:
        """What it foretells."""
        return self.description.heads

    @property
    def path(self) -> str:
        """Which scorer serves; "module" is the plain one."""
        return "module" if self._scorer is None else self._scorer.path

    def score(
        self,
        features: FloatMatrix,
        base: FloatVector,
        item_idx: IntVector,
        tokens: Tokens,
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
        tokens : Tokens
            Of one request, shape [1, S].
        at_ts_ms : int
        """
        n = len(item_idx)
        request = Examples(
            at_ts_ms=np.array([at_ts_ms]),
            user_idx=np.zeros(1, np.int64),
            begin=np.array([0, n]),
            space=np.zeros(1, np.int32),
            between=np.zeros(1, bool),
            tokens=tokens,
            item_idx=item_idx,
            features=features,
            base=base,
            labels=np.zeros((n, len(self.heads)), np.float32),
            weight=np.ones(n, np.float32),
        )
        return self.answer(self.logits(request))

    def logits(self, examples: Examples) -> FloatMatrix:
        """Give the logits of requests, one after the other by the fast scorer, shape [T, H]."""
        import torch

        from wayline.ranking.training.batches import batch_of
        from wayline.ranking.training.inputs import ItemInputs

        items = ItemInputs([self.table], self.known, len(self.description.action_names))
        out = []
        with torch.inference_mode():
            for r in range(len(examples)):
                batch = batch_of(examples.take(np.array([r])), items).inputs
                sequence = None
                if self._scorer is not None:
                    sequence = self._scorer.score(
                        batch.action_type[0], batch.item_vector[0], batch.action_ts_ms[0],
                        int(batch.request_ts_ms[0]), batch.candidate_vector,
                    )  # fmt: skip
                out.append(self.ranker(batch, sequence).numpy())
        width = (0, len(self.heads))
        return np.concatenate(out) if out else np.zeros(width, np.float32)

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
        twin.table, twin.known = self.space.table(vectors), known
        return twin

    def serving_in(self, regimes: Mapping[str, float]) -> LearnedRanker:
        """Give the same ranker with a share of the order in some regimes."""
        twin = copy.copy(self)
        twin.description = replace(self.description, regimes=dict(regimes))
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
        utility: Mapping[str, float] | None = None,
    ) -> LearnedRanker:
        """Read a ranker's folder.

        Parameters
        ----------
        folder : Path
        dtype, threads
            As of the class.
        utility : mapping, optional
            Weights of heads that stand instead of those it was trained with: ``[feed.weights]`` as it is now.

        Raises
        ------
        RankerError
            If a file is missing, damaged, or of another version.
        """
        try:
            from safetensors.torch import load_file

            from wayline.ranking.modules.ranker import Ranker, RankerConfig

            description, space, table, known = _read(folder)
            description = with_utility(description, utility or {})
            ranker = Ranker(RankerConfig.from_dict(description.model))
            ranker.load_state_dict(load_file(folder / WEIGHTS))
            return cls(ranker, description, space, table, known, dtype=dtype, threads=threads)
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


def card_text(description: Description) -> str:
    """The model card, for people."""
    card = description.card
    lines = ["# Ranker", "", f"Heads: {', '.join(description.heads.names)}.", ""]
    for title, values in card.items():
        lines.append(f"## {title.replace('_', ' ')}")
        lines.append("")
        if isinstance(values, Mapping):
            lines += [f"- {name}: {value}" for name, value in values.items()]
        else:
            lines.append(str(values))
        lines.append("")
    return "\n".join(lines)


def with_utility(description: Description, utility: Mapping[str, float]) -> Description:
    """Give a description with other weights of some heads."""
    heads = description.heads
    pairs = zip(heads.names, heads.weight.tolist(), strict=True)
    weight = np.array([utility.get(name, own) for name, own in pairs], np.float32)
    return replace(description, heads=replace(heads, weight=weight))

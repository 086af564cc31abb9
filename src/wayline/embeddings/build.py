"""One call for a build: from what there is (texts, actions, a file) to one vector an item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wayline.config import EmbeddingsConfig
from wayline.embeddings.given import given_vectors
from wayline.embeddings.graph import graph_vectors
from wayline.embeddings.hybrid import hybrid_vectors
from wayline.embeddings.text import TextVectors, text_vectors
from wayline.errors import ConfigError, NothingToBuildError
from wayline.schema import BoolVector, FloatMatrix, FloatVector, IntVector

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps in all)."""


class Interactions(NamedTuple):
    """Actions as positions, each of shape [M]."""

    user_idx: IntVector
    item_idx: IntVector
    ts_ms: IntVector
    worth: FloatVector


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector an item.

    Attributes
    ----------
    vectors : float32 array, shape [N, D]
        Unit norm, or zero where ``usable`` is False.
    usable : bool array, shape [N]
        Whether anything is known of the item that a vector could be made of.
    kind : str
        What was made: ``text``, ``graph``, ``hybrid`` or ``given``. ``hybrid`` becomes ``graph``
        where no item has text, ``text`` where nobody acted.
    notes : list of str
        What a person should know: fall backs, items without a vector.
    """

    vectors: FloatMatrix
    usable: BoolVector
    kind: str
    notes: list[str]


def build_embeddings(
    texts: Sequence[str],
    interactions: Interactions,
    config: EmbeddingsConfig,
    *,
    item_ids: Sequence[str] = (),
    cache_path: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Embeddings:
    """Make the vectors of a generation.

    Parameters
    ----------
    texts : sequence of str, length N
        :func:`wayline.embeddings.text.item_text` of every item; blank where there is none.
    interactions : Interactions
        Actions with what each is worth; 0 and less does not count.
    config : EmbeddingsConfig
        ``kind``, ``dim``, ``given`` and ``text_model`` are used.
    item_ids : sequence of str, length N
        Needed by the kind ``given`` only.
    cache_path : Path, optional
        Where text vectors are kept between builds (``.npz``).
    seed : int
        The same inputs and seed give the same vectors.
    progress : callable, optional

    Returns
    -------
    Embeddings

    Raises
    ------
    NothingToBuildError
        If the kind's inputs are absent: no text for ``text``, no actions for ``graph``, neither for
        ``hybrid``.
    ConfigError
        If the kind is unknown, or ``given`` without a file.
    """
    say = progress or (lambda what, done, total: None)
    if config.kind == "given":
        return _given(config, item_ids)
    if config.kind not in ("text", "graph", "hybrid"):
        raise ConfigError(
            f"Got embeddings.kind = {config.kind!r}, expected text, graph, hybrid or given.",
            field="embeddings.kind",
        )
    has_text = any(text.strip() for text in texts)
    has_actions = bool(len(interactions.worth)) and bool((interactions.worth > 0).any())
    kind = _possible_kind(config.kind, has_text=has_text, has_actions=has_actions)
    notes = []
    if kind != config.kind:
        why = "no item has a text" if kind == "graph" else "no action counts as positive"
        notes.append(f"Vectors are of kind {kind}: {why}.")
    if kind == "text":
        text = _text(texts, config, cache_path, seed, say)
        return _noted(Embeddings(text.vectors, text.usable, kind, notes + text.notes))
    say("graph vectors", 0, 1)
    graph, usable = graph_vectors(*interactions, len(texts), dim=config.dim, seed=seed)
    say("graph vectors", 1, 1)
    if kind == "graph":
        return _noted(Embeddings(graph, usable, kind, notes))
    text = _text(texts, config, cache_path, seed, say)
    vectors, usable = hybrid_vectors(text.vectors, graph, dim=config.dim)
    return _noted(Embeddings(vectors, usable, kind, notes + text.notes))


def _possible_kind(wanted: str, *, has_text: bool, has_actions: bool) -> str:
    """The kind that can be made, ``hybrid`` giving way to what there is."""
    if wanted == "hybrid" and has_text != has_actions:
        wanted = "text" if has_text else "graph"
    if wanted in ("text", "hybrid") and not has_text:
        raise NothingToBuildError(
            "No item has a title, category, tags or description, expected texts to embed: import "
            "items, or actions worth something with embeddings.kind = 'graph'."
        )
    if wanted == "graph" and not has_actions:
        raise NothingToBuildError(
            "No action is worth more than 0, expected actions to learn vectors from: import "
            "actions, name their worth under [actions], or set embeddings.kind = 'text'."
        )
    return wanted


def _text(
    texts: Sequence[str],
    config: EmbeddingsConfig,
    cache_path: Path | None,
    seed: int,
    say: Progress,
) -> TextVectors:
    return text_vectors(
        texts,
        dim=config.dim,
        model_folder=config.text_model,
        cache_path=cache_path,
        seed=seed,
        progress=lambda done, total: say("text vectors", done, total),
    )


def _given(config: EmbeddingsConfig, item_ids: Sequence[str]) -> Embeddings:
    if not config.given:
        raise ConfigError(
            "embeddings.kind is 'given' but embeddings.given is empty, expected a Parquet file "
            "with the columns item_id and vector: set its path.",
            field="embeddings.given",
        )
    vectors, usable, _ = given_vectors(Path(config.given), item_ids, dim=config.dim)
    return _noted(Embeddings(vectors, usable, "given", []))


def _noted(made: Embeddings) -> Embeddings:
    """Count the items that have no vector."""
    n_without = int((~made.usable).sum())
    if n_without:
        made.notes.append(f"{n_without:,} of {len(made.usable):,} items have no vector.")
    return made

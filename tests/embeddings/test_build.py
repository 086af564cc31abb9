from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from wayline.config import EmbeddingsConfig
from wayline.embeddings import minilm
from wayline.embeddings.build import Interactions, build_embeddings
from wayline.errors import ConfigError, NothingToBuildError

N = 40
TEXTS = [f"{'mug cup' if n < 20 else 'spade rake'} number {n}" for n in range(N)]
NONE = Interactions(*[np.empty(0, np.int64)] * 3, np.empty(0, np.float32))


@pytest.fixture(autouse=True)
def words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder has its own tests; here TF-IDF is quicker."""
    monkeypatch.setattr(minilm, "find_package", lambda: None)


def log_of(without: tuple[int, ...] = ()) -> Interactions:
    rng = np.random.default_rng(0)
    user = np.arange(30).repeat(20)
    item = (user % 2) * 20 + rng.integers(0, 20, len(user))
    kept = ~np.isin(item, without)
    return Interactions(
        user[kept], item[kept], np.arange(kept.sum()), np.ones(kept.sum(), np.float32)
    )


@pytest.mark.parametrize("kind", ["text", "graph", "hybrid"])
def test_every_kind_puts_the_two_themes_apart(kind: str) -> None:
    made = build_embeddings(TEXTS, log_of(), EmbeddingsConfig(kind=kind, dim=16))
    assert made.kind == kind
    assert made.vectors.shape == (N, 16)
    assert made.vectors.dtype == np.float32
    assert made.usable.all()
    np.testing.assert_allclose(np.linalg.norm(made.vectors, axis=1), 1, rtol=1e-5)
    cosines = made.vectors @ made.vectors.T
    assert cosines[:20, :20].mean() > cosines[:20, 20:].mean() + 0.2


def test_a_cold_item_is_found_by_its_text() -> None:
    made = build_embeddings(TEXTS, log_of(without=(3,)), EmbeddingsConfig(dim=16))
    assert made.usable[3]
    cosines = made.vectors @ made.vectors[3]
    assert cosines[:20].mean() > cosines[20:].mean() + 0.2


def test_without_texts_the_default_is_the_graph_and_says_so() -> None:
    made = build_embeddings([""] * N, log_of(without=(3,)), EmbeddingsConfig(dim=16))
    assert made.kind == "graph"
    assert "no item has a text" in made.notes[0]
    assert "1 of 40 items have no vector" in made.notes[-1]
    assert np.flatnonzero(~made.usable).tolist() == [3]


def test_without_actions_the_default_is_text_and_says_so() -> None:
    made = build_embeddings(TEXTS, NONE, EmbeddingsConfig(dim=16))
    assert made.kind == "text"
    assert "no action counts as positive" in made.notes[0]


@pytest.mark.parametrize(
    ("kind", "texts", "log"),
    [("hybrid", [""] * N, NONE), ("text", [""] * N, log_of()), ("graph", TEXTS, NONE)],
)
def test_nothing_to_embed_is_an_error_with_a_cure(
    kind: str, texts: list[str], log: Interactions
) -> None:
    with pytest.raises(NothingToBuildError, match="expected"):
        build_embeddings(texts, log, EmbeddingsConfig(kind=kind))


def test_only_negative_actions_are_no_actions() -> None:
    log = log_of()
    made = build_embeddings(TEXTS, log._replace(worth=-log.worth), EmbeddingsConfig(dim=8))
    assert made.kind == "text"


def test_given_vectors_are_read_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    pl.DataFrame({"item_id": ["a"], "vector": [[1.0, 0.0]]}).write_parquet(path)
    config = EmbeddingsConfig(kind="given", dim=2, given=str(path))
    made = build_embeddings(["", ""], NONE, config, item_ids=["a", "b"])
    assert made.kind == "given"
    assert made.usable.tolist() == [True, False]
    assert made.notes == ["1 of 2 items have no vector."]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="given is empty"):
        build_embeddings(TEXTS, NONE, EmbeddingsConfig(kind="given"))
    with pytest.raises(ConfigError, match="kind = 'pictures'"):
        build_embeddings(TEXTS, NONE, EmbeddingsConfig(kind="pictures"))


def test_the_same_input_gives_the_same_vectors() -> None:
    first, again = (
        build_embeddings(TEXTS, log_of(), EmbeddingsConfig(dim=16), seed=3) for _ in range(2)
    )
    np.testing.assert_array_equal(first.vectors, again.vectors)


def test_progress_is_told() -> None:
    told: list[str] = []
    build_embeddings(
        TEXTS, log_of(), EmbeddingsConfig(dim=8), progress=lambda what, *_: told.append(what)
    )
    assert "graph vectors" in told

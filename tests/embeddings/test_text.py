from __future__ import annotations

import builtins
import shutil
from pathlib import Path

import numpy as np
import pytest

from wayline.embeddings import minilm
from wayline.embeddings.text import item_text, text_vectors, tfidf_vectors
from wayline.errors import ConfigError

needs_model = pytest.mark.skipif(minilm.find_package() is None, reason="MiniLM is not installed")
TEXTS = [
    "red ceramic mug", "blue ceramic cup", "tea cup of porcelain", "garden spade", "watering can",
    "lawn rake", "wireless mouse", "mechanical keyboard", "USB cable, two metres", "ÉTAGÈRE №5 ☕",
    "a" * 400, "word " * 300,
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> minilm.MiniLM:
    package = minilm.find_package()
    assert package is not None
    return minilm.MiniLM(package, bf16=False)


@needs_model
@pytest.mark.filterwarnings("ignore")  # of the libraries on import
def test_our_forward_pass_is_the_librarys(model: minilm.MiniLM) -> None:
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(minilm.find_package()), device="cpu", local_files_only=True)
    library.max_seq_length = minilm.MAX_TOKENS
    expected = library.encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=2e-6)


@needs_model
def test_bfloat16_points_the_same_way(model: minilm.MiniLM) -> None:
    package = minilm.find_package()
    assert package is not None
    rounded = minilm.MiniLM(package, bf16=True).encode(TEXTS)
    assert (rounded * model.encode(TEXTS)).sum(1).min() > 0.9998


@needs_model
def test_the_company_of_a_text_does_not_change_it(model: minilm.MiniLM) -> None:
    alone = np.concatenate([model.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(model.encode(TEXTS, workers=1), alone, atol=1e-5)


@needs_model
def test_no_texts_give_no_rows(model: minilm.MiniLM) -> None:
    assert model.encode([]).shape == (0, 384)


@needs_model
def test_meanings_are_neighbours() -> None:
    found = text_vectors(TEXTS[:9], dim=64)
    assert found.kind == "minilm"
    assert found.notes == []
    cosines = found.vectors @ found.vectors.T
    assert cosines[0, 1] > cosines[0, 3:].max()
    assert cosines[6, 7] > cosines[6, :6].max()


@needs_model
def test_few_texts_lose_nothing_by_the_reduction(model: minilm.MiniLM) -> None:
    wide = model.encode(TEXTS[:9])
    found = text_vectors(TEXTS[:9], dim=64)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, wide @ wide.T, atol=0.01)


@needs_model
def test_equal_and_blank_texts() -> None:
    found = text_vectors(["mug", " ", "mug ", "spade", ""], dim=8)
    assert found.usable.tolist() == [True, False, True, True, False]
    np.testing.assert_array_equal(found.vectors[0], found.vectors[2])
    assert not found.vectors[[1, 4]].any()


def test_no_text_at_all_loads_no_model() -> None:
    found = text_vectors(["", " "], dim=8)
    assert (found.kind, found.usable.any(), found.vectors.shape) == ("none", False, (2, 8))


@needs_model
def test_a_rebuild_embeds_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    encode = minilm.MiniLM.encode

    def counting(self: minilm.MiniLM, texts: list[str], **options: object) -> np.ndarray:
        asked.append(list(texts))
        return encode(self, texts, **options)

    monkeypatch.setattr(minilm.MiniLM, "encode", counting)
    cache = tmp_path / "texts.npz"
    first = text_vectors(TEXTS[:5], dim=16, cache_path=cache)
    again = text_vectors(TEXTS[:5], dim=16, cache_path=cache)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    text_vectors([*TEXTS[:3], "hand trowel"], dim=16, cache_path=cache)
    assert asked == [sorted(TEXTS[:5]), ["hand trowel"]]
    assert [path.name for path in tmp_path.iterdir()] == ["texts.npz"]


@needs_model
@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", "half"])
def test_a_damaged_cache_is_made_anew_and_said(tmp_path: Path, damage: bytes | str) -> None:
    cache = tmp_path / "texts.npz"
    first = text_vectors(TEXTS[:4], dim=16, cache_path=cache)
    raw = cache.read_bytes()
    cache.write_bytes(damage if isinstance(damage, bytes) else raw[: len(raw) // 2])
    found = text_vectors(TEXTS[:4], dim=16, cache_path=cache)
    np.testing.assert_array_equal(found.vectors, first.vectors)
    assert "could not be read" in found.notes[0]
    assert text_vectors(TEXTS[:4], dim=16, cache_path=cache).notes == []


@needs_model
def test_changed_weights_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = minilm.find_package()
    assert package is not None
    shutil.copy(package / "tokenizer.json", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(minilm, "find_package", lambda: tmp_path)
    with pytest.warns(UserWarning, match="not the file we know"):
        found = text_vectors(TEXTS, dim=8)
    assert found.kind == "tfidf"
    assert "Reinstall" in found.notes[0]


def test_without_the_package_words_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "find_package", lambda: None)
    found = text_vectors(["red mug", "red mugs", "green spade", "green spades"], dim=4)
    assert found.kind == "tfidf"
    assert "pip install wayline[text]" in found.notes[0]
    cosines = found.vectors @ found.vectors.T
    assert cosines[0, 1] > cosines[0, 2:].max()


@pytest.mark.parametrize("texts", [["mug"], ["?!"], ["a", "?"], ["mug", "mug mug"]])
def test_tfidf_takes_the_smallest_catalogues(texts: list[str]) -> None:
    vectors = tfidf_vectors(texts, dim=8)
    assert len(vectors) == len(texts)
    assert np.isfinite(vectors).all()


def test_tfidf_is_the_same_on_every_run() -> None:
    texts = [f"item {n % 17} of series {n % 5} number {n}" for n in range(300)]
    np.testing.assert_array_equal(tfidf_vectors(texts, dim=16), tfidf_vectors(texts, dim=16))


@needs_model
@pytest.mark.filterwarnings("ignore")
def test_a_model_folder_of_your_own_is_used() -> None:
    package = minilm.find_package()
    found = text_vectors(TEXTS[:9], dim=16, model_folder=str(package))
    assert found.kind == "model"
    expected = text_vectors(TEXTS[:9], dim=16)
    cosines = [v.vectors @ v.vectors.T for v in (found, expected)]
    np.testing.assert_allclose(cosines[0], cosines[1], atol=0.02)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="text_model"):
        text_vectors(["mug"], model_folder=str(tmp_path))


def test_importing_the_module_loads_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    taken = builtins.__import__

    def refuse(name: str, *rest: object) -> object:
        assert name.split(".", maxsplit=1)[0] not in {"torch", "sklearn", "sentence_transformers"}
        return taken(name, *rest)  # type: ignore[arg-type]  # passed through as it came

    monkeypatch.setattr(builtins, "__import__", refuse)
    importlib.reload(minilm)


def test_the_text_of_an_item_is_short() -> None:
    long = item_text("Mug", "Home|Kitchen", [f"tag{n}" for n in range(50)], "word " * 500)
    assert long.startswith("Mug. Home, Kitchen. tag0, tag1")
    assert len(long.split()) < 40
    assert item_text(None, None, [], None) == ""

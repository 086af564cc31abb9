"""A readable name for an interest, from the titles of its items: "Christmas decoration"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from wayline.interests.words import (
    FUNCTION_WORDS,
    TOKEN,
    WORD,
    Float64Vector,
    aboutness,
    is_shouting,
    stem,
)
from wayline.schema import IntVector

_TITLE_WORDS = 16  # of a title that are read; products and articles say what they are by then
_LABEL_WORDS = 6  # of a title that is used as a label
# Chosen by reading people's labels (gifts, films), not published.
_PAIR_BONUS = 1.3  # two words say more than one
_GENERIC = 0.85  # a word less particular than that never stands alone
_ENOUGH = 0.5  # share of an interest that one phrase should be true of; below it a second is added


class Labeller:
    """Names interests; built once from the catalogue's titles.

    A phrase (a word, two neighbouring words, or a whole tag) scores ``coverage · log(coverage /
    frequency) · aboutness``: the share of the interest that has it, weighted by importance; how
    much larger that is than in the catalogue (as in class-based TF-IDF, Grootendorst 2022); and how
    far the words that stand beside it differ from the words of the catalogue (Kullback-Leibler
    divergence, smoothed). Colours, sizes and quantities stand beside everything, so they score low
    without any list of them.

    Parameters
    ----------
    titles : sequence of str or None, length N
        Title of each item, by item position. Kept by reference.
    tags : sequence of sequences of str, length N, optional
        Whole phrases that are true of an item: category, tags.
    item_ids : sequence of str, length N, optional
        The last resort for an item without a title; "Item <position>" otherwise.

    Notes
    -----
    Keeps four bytes for each phrase of each item. 100,000 titles take a few seconds, a label well
    below a millisecond.

    Examples
    --------
    >>> titles = ["RED TEA CUP", "BLUE TEA CUP", "RED DESK LAMP", "BLUE DESK LAMP"]
    >>> Labeller(titles).label_all([[0, 1], [2, 3]])
    ['Tea cup', 'Desk lamp']
    """

    def __init__(
        self,
        titles: Sequence[str | None],
        *,
        tags: Sequence[Sequence[str]] | None = None,
        item_ids: Sequence[str] | None = None,
    ) -> None:
        self._titles = titles
        self._item_ids = item_ids
        self._shouting = is_shouting(titles)
        words, pairs, spellings = _read_titles(titles)
        about = aboutness(words, len(spellings))
        groups = [
            (words, spellings, about),
            (
                pairs.ids,
                [f"{spellings[a]} {spellings[b]}" for a, b in pairs.words],
                np.array([_PAIR_BONUS * (about[a] + about[b]) / 2 for a, b in pairs.words]),
            ),
        ]
        if tags is not None:
            whole = _Interned()
            ids = [[whole.id(tag) for tag in dict.fromkeys(own) if tag.strip()] for own in tags]
            groups.append((ids, whole.texts, np.ones(len(whole.texts))))
        self._pack(groups, len(titles))

    def _pack(
        self, groups: list[tuple[list[list[int]], list[str], Float64Vector]], items: int
    ) -> None:
        """Keep phrases that at least two items have, as one table of rows of ids."""
        item_of, phrase_of, texts, about = [], [], [], []
        first = 0
        for ids_of, names, weight in groups:
            counts = np.fromiter(map(len, ids_of), np.int64, len(ids_of))
            flat = np.fromiter(chain.from_iterable(ids_of), np.int64, int(counts.sum()))
            rows = np.repeat(np.arange(len(ids_of)), counts)
            unique = np.unique(rows * max(len(names), 1) + flat)
            rows, flat = np.divmod(unique, max(len(names), 1))
            item_of.append(rows)
            phrase_of.append(flat + first)
            texts.extend(names)
            about.append(weight)
            first += len(names)
        rows, phrases = np.concatenate(item_of), np.concatenate(phrase_of)
        frequency = np.bincount(phrases, minlength=first)
        kept = frequency >= 2
        new_id = np.cumsum(kept) - 1
        keep = kept[phrases]
        rows, phrases = rows[keep], new_id[phrases[keep]]
        self._phrases = phrases[np.argsort(rows, kind="stable")].astype(np.int32)
        self._offsets = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=items))))
        self._texts = [text for text, keeps in zip(texts, kept.tolist(), strict=True) if keeps]
        self._about = np.concatenate(about)[kept]
        self._frequency = frequency[kept] / max(items, 1)

    def label(self, members: Sequence[int], weights: npt.ArrayLike | None = None) -> str:
        """Name one interest; see :meth:`label_all`."""
        return self.label_all([members], None if weights is None else [weights])[0]

    def label_all(
        self,
        interests: Sequence[Sequence[int] | IntVector],
        weights: Sequence[npt.ArrayLike] | None = None,
        medoids: Sequence[int] | None = None,
    ) -> list[str]:
        """Name one person's interests, all differently.

        Parameters
        ----------
        interests : sequence of int arrays
            Item positions of each interest, the most important interest first: it has the first
            choice of names.
        weights : sequence of float arrays, optional
            How much each member counts (its importance); members below 0 count nothing. Default:
            all the same.
        medoids : sequence of int, optional
            Whose title is used where no phrase fits; by default the first member.
        """
        labels: list[str] = []
        used: set[str] = set()
        for q, members in enumerate(interests):
            own = np.asarray(members, np.int64)
            weight = np.ones(len(own)) if weights is None else np.asarray(weights[q], np.float64)
            medoid = int(medoids[q]) if medoids is not None else int(own[0])
            labels.append(self._name(own, weight, medoid, used))
            used.add(labels[-1].casefold())
        return labels

    def _name(self, members: IntVector, weight: Float64Vector, medoid: int, used: set[str]) -> str:
        """The best phrase, two of them, or the medoid's title: the first that is free."""
        title = self._title(medoid)
        choices = self._phrases_of(members, weight) if len(members) > 1 else []
        for text in [*choices, title]:
            if text.casefold() not in used:
                return text
        number = 2
        while f"{title} ({number})".casefold() in used:
            number += 1
        return f"{title} ({number})"

    def _phrases_of(self, members: IntVector, weight: Float64Vector) -> list[str]:
        """Phrases that fit an interest, the best first."""
        weight = np.maximum(weight, 0.0)
        weight = (
            weight / weight.sum() if weight.sum() > 0 else np.full(len(members), 1 / len(members))
        )
        lo, hi = self._offsets[members], self._offsets[members + 1]
        sizes = hi - lo
        if not sizes.sum():
            return []
        at = np.repeat(lo - np.concatenate(([0], np.cumsum(sizes[:-1]))), sizes) + np.arange(
            sizes.sum()
        )
        member = np.repeat(np.arange(len(members)), sizes)
        phrases, inverse, count = np.unique(
            self._phrases[at], return_inverse=True, return_counts=True
        )
        coverage = np.bincount(inverse, weight[member]).astype(np.float64)
        lift = np.log(np.maximum(coverage / self._frequency[phrases], 1.0))
        about = self._about[phrases]
        score = coverage * lift * about**3 * (count >= 2) * (about >= _GENERIC)
        best = np.argsort(-score, kind="stable")[:12]
        best = best[score[best] > 0]
        if not len(best):
            return []
        names = [self._grown(int(p), phrases, coverage) for p in best]
        single = [
            self._written(name)
            for name, p in zip(names, best, strict=True)
            if coverage[p] >= _ENOUGH / 2
        ]
        if coverage[best[0]] >= _ENOUGH:
            return single
        missing = np.ones(len(members), bool)
        missing[member[inverse == best[0]]] = False
        rest = np.bincount(inverse, weight[member] * missing[member])[best]
        added = score[best] * rest / np.maximum(coverage[best], 1e-12)
        words = set(names[0].casefold().split())
        for p in np.argsort(-added, kind="stable"):
            if rest[p] >= _ENOUGH / 4 and not words & set(names[p].casefold().split()):
                return [self._written(f"{names[0]} and {names[p]}"), *single]
        return single

    def _grown(self, p: int, phrases: npt.NDArray[np.int32], coverage: Float64Vector) -> str:
        """A phrase and the word mostly beside it: "round snack" becomes "round snack boxes"."""
        name: str = self._texts[phrases[p]]
        first, _, last = name.rpartition(" ")
        if " " in first:
            return name
        enough = 0.75 if first else 0.5
        longer = np.flatnonzero(coverage >= enough * coverage[p])
        for other in longer[np.argsort(-coverage[longer], kind="stable")]:
            text: str = self._texts[phrases[other]]
            before, _, after = text.partition(" ")
            if not after or " " in after:
                continue
            if before == last:
                return f"{name} {after}"
            if after == (first or last):
                return f"{before} {name}"
        return name

    def _title(self, item: int) -> str:
        title = self._titles[item]
        if title and title.strip():
            words = title.split()
            short = " ".join(words[:_LABEL_WORDS]).rstrip(" ,;:-")
            return self._written(short + ("…" if len(words) > _LABEL_WORDS else ""))
        return self._item_ids[item] if self._item_ids is not None else f"Item {item}"

    def _written(self, text: str) -> str:
        """Sentence case; catalogues in capitals are lowered first."""
        lowered = text.lower() if self._shouting else text
        return lowered[:1].upper() + lowered[1:]


class _Interned:
    """Numbers for texts, ignoring case; the first spelling is kept."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self.texts: list[str] = []

    def id(self, text: str) -> int:
        number = self._ids.setdefault(text.strip().casefold(), len(self.texts))
        if number == len(self.texts):
            self.texts.append(text.strip())
        return number


class _Pairs:
    """Neighbouring words: their ids by item, and the two words of each."""

    def __init__(self) -> None:
        self.ids: list[list[int]] = []
        self.words: list[tuple[int, int]] = []
        self._numbers: dict[tuple[int, int], int] = {}

    def id(self, pair: tuple[int, int]) -> int:
        number = self._numbers.setdefault(pair, len(self.words))
        if number == len(self.words):
            self.words.append(pair)
        return number


def _read_titles(titles: Sequence[str | None]) -> tuple[list[list[int]], _Pairs, list[str]]:
    """Word ids and pair ids of each title, and each word's commonest spelling."""
    stems: dict[str, int] = {}
    word_of: dict[str, int] = {}  # -1 for what ends a phrase
    seen: Counter[str] = Counter()
    words_of, pairs = [], _Pairs()
    for title in titles:
        tokens = TOKEN.findall(title)[:_TITLE_WORDS] if title else []
        seen.update(tokens)
        words, own_pairs, before = [], [], -1
        for token in tokens:
            word = word_of.get(token)
            if word is None:
                ends = token.lower() in FUNCTION_WORDS or not WORD.fullmatch(token)
                word = word_of[token] = -1 if ends else stems.setdefault(stem(token), len(stems))
            if word >= 0:
                words.append(word)
                if before >= 0 and before != word:
                    own_pairs.append(pairs.id((before, word)))
            before = word
        words_of.append(words)
        pairs.ids.append(own_pairs)
    spellings = [""] * len(stems)
    for token, _ in seen.most_common():
        word = word_of[token]
        if word >= 0 and not spellings[word]:
            spellings[word] = token
    return words_of, pairs, spellings

"""Keywords of a catalogue: what its items, and the searches of people, are about (User Journeys 2025, stage 2).

A phrase is a keyword if the items that have it belong together, by the vectors of the generation: in a gift shop "red"
does not, "red retrospot" does; among films "love" does not, "Star Wars" does. So the log and the catalogue themselves
say what a stop word is, in whatever language. Categories, tags and searches are keywords as they are.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wayline.embeddings.linear import principal_rows, unit_rows
from wayline.interests.words import aboutness, is_shouting
from wayline.journeys.phrases import (
    DESCRIPTION_WORDS,
    TITLE_WORDS,
    Key,
    Run,
    parts_of,
    phrases_of,
    plain,
    runs_of,
    whole_key,
)
from wayline.schema import BoolVector, FloatMatrix, FloatVector, IndexVector, IntVector
from wayline.storage.disk import write_frame

PHRASE, TAG, CATEGORY, QUERY, BOARD = range(5)
KINDS = ("phrase", "tag", "category", "query", "board")

# Chosen on the development sets (docs/experiments.md), not published.
LEAST_ITEMS = 3  # that have a phrase
MOST_SHARE = 0.12  # of the catalogue; a phrase of more says little
SMALL_CATALOGUE = 12  # items that a phrase may have however small the catalogue is
COHERENT = 0.06  # mean cosine of its items, above that of any two
COHERENT_WHOLE = 0.03  # the same for a tag or category, which somebody chose
HELD = 0.5  # of the two, for a keyword of the build before
DAMPING = 4.0  # items that agree as any two do, which every phrase is taken to have had
PER_ITEM = 6  # phrases of an item
PER_ITEM_WHOLE = 8  # tags and categories of an item
WEAK_WORD = 0.03  # coherence below which a frequent word neither begins nor ends a phrase
PROFILE_DIM = 96
TEXT_SHARE = 0.4  # of an item's place that its keywords decide; the rest is its vector
LONGEST_SEARCH = 8  # words
LEAST_PEOPLE = 2  # who searched for it, before a search may become a word for all

TextEncoder = Callable[[list[str]], FloatMatrix]


@dataclass(frozen=True, slots=True)
class Said:
    """Searches and boards in the log, one row each time: ``text [W]``, ``kind [W]``, ``user_key``, ``item_idx``."""

    text: list[str]
    kind: list[int]
    user_key: IntVector
    item_idx: IntVector

    @classmethod
    def nothing(cls) -> Said:
        """Of a log without any."""
        return cls([], [], np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Keywords:
    """The keywords of one generation, and where its items stand among them.

    Attributes
    ----------
    texts : list of str, K
        As they are written.
    kinds : int8 array, shape [K]
    frequency : float32 array, shape [K]
        Share of the catalogue's items that have it.
    specificity : float32 array, shape [K]
        How much having it says of an item.
    places : float32 array, shape [K, P]
        Unit vectors in the space of items: its own text, and the items that have it.
    item_offsets : int64 array, shape [N + 1]
    item_keyword : int32 array, shape [X]
        Keywords of item i: ``item_offsets[i]`` to ``item_offsets[i + 1]``, the most specific first.
    item_weight : float32 array, shape [X]
        Sums to 1 over an item.
    item_places : float32 array, shape [N, P]
        Unit vectors; zero for an item of which nothing is known.
    keys : list of list of str, K
    shouting : bool
        Whether the catalogue is written in capitals.
    notes : list of str
        What a person should know of how they were made.
    """

    texts: list[str]
    kinds: IndexVector
    frequency: FloatVector
    specificity: FloatVector
    places: FloatMatrix
    item_offsets: IntVector
    item_keyword: IndexVector
    item_weight: FloatVector
    item_places: FloatMatrix
    keys: list[list[str]]
    shouting: bool = False
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def _number(self) -> dict[Key, int]:
        return {tuple(key): k for k, key in enumerate(self.keys)}

    def find(self, text: str) -> int | None:
        """Find the keyword that a text as a whole is, in any spelling."""
        return self._number.get(whole_key(text))

    def read(self, text: str) -> list[int]:
        """Find the keywords that a text is made of: itself, else the longest known phrases in it."""
        whole = whole_key(text)
        if whole in self._number:
            return [self._number[whole]]
        found: list[int] = []
        at = 0
        while at < len(whole):
            for length in range(min(3, len(whole) - at), 0, -1):
                number = self._number.get(whole[at : at + length])
                if number is not None:
                    found.append(number)
                    at += length - 1
                    break
            at += 1
        return found

    def of_item(self, item_idx: int) -> IndexVector:
        """Keywords of one item."""
        return self.item_keyword[self.item_offsets[item_idx] : self.item_offsets[item_idx + 1]]

    def save(self, folder: Path) -> None:
        """Write it into a generation."""
        folder.mkdir(exist_ok=True)
        frame = pl.DataFrame(
            {"text": self.texts, "key": self.keys, "kind": self.kinds.astype(np.int8)},
            schema={"text": pl.String, "key": pl.List(pl.String), "kind": pl.Int8},
        )
        write_frame(frame, folder / "keywords.parquet")
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        said = {"shouting": self.shouting, "notes": self.notes}
        (folder / "keywords.json").write_text(json.dumps(said), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Keywords:
        """Read what :meth:`save` wrote; the places of items are mapped."""
        frame = pl.read_parquet(folder / "keywords.parquet")
        arrays: dict[str, Any] = {
            name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r" if name == "item_places" else None))
            for name in _ARRAYS
        }  # fmt: skip
        said = json.loads((folder / "keywords.json").read_text("utf-8"))
        return cls(
            texts=frame["text"].to_list(), kinds=frame["kind"].to_numpy().astype(np.int32),
            keys=frame["key"].to_list(), shouting=bool(said["shouting"]), notes=list(said["notes"]), **arrays,
        )  # fmt: skip


_ARRAYS = (
    "frequency", "specificity", "places", "item_offsets", "item_keyword", "item_weight", "item_places",
)  # fmt: skip


def find_keywords(
    texts: pl.DataFrame,
    vectors: FloatMatrix,
    usable: BoolVector,
    encode: TextEncoder,
    *,
    said: Said | None = None,
    blocked: Callable[[str], bool] | None = None,
    before: Keywords | None = None,
) -> Keywords:
    """Find the keywords of a catalogue and place its items among them.

    Parameters
    ----------
    texts : DataFrame
        ``title, description, category, tags``, a row an item.
    vectors : float32 array, shape [N, D]
        The generation's.
    usable : bool array, shape [N]
        Items with a vector.
    encode : callable
        Gives the vectors of texts, shape [K, any]; asked once, for all keywords.
    said : Said, optional
        Searches and boards; one that a single person used stays theirs and is no keyword.
    blocked : callable, optional
        Says of a text that it must not be said to anybody: it is no keyword.
    before : Keywords, optional
        Of the last build: one of those stays while its items belong together half as much as those of a new one must,
        so that names do not change with every build's new vectors.
    """
    catalogue = _read(texts)
    described = np.array(
        [bool(p or w) for p, w in zip(catalogue.phrases, catalogue.wholes, strict=True)], bool
    )
    space = _Space(vectors, usable, usable & described)
    posted = catalogue.posted
    chosen = _choose(catalogue, space, {tuple(key) for key in before.keys} if before else set())
    heard = _heard(said or Said.nothing())
    for key, items in heard.items():
        posted.setdefault(key, []).extend(i for i in items.item_idx if i >= 0)
    keys = sorted({*chosen, *heard})
    if not keys:
        return _nothing(len(vectors), space, catalogue)
    shouting = is_shouting(texts["title"].to_list())
    if blocked is not None:
        keys = [k for k in keys if not blocked(catalogue.write(k, shouting) or heard[k].text)]
    if not keys:
        return _nothing(len(vectors), space, catalogue)
    written = [catalogue.write(key, shouting) or heard[key].text for key in keys]
    kinds = np.array([heard[k].kind if k in heard else catalogue.kind(k) for k in keys], np.int32)
    counts = np.array([len(posted[key]) for key in keys], np.float64)
    about = catalogue.about(keys)
    coherence = np.array([max(space.coherence(posted[key]), COHERENT_WHOLE / 2) for key in keys])
    length = np.array([1.0 if len(key) == 1 else 1.3 for key in keys])
    rarity = np.log(max(len(vectors), 2) / np.maximum(counts, 1.0)).clip(0.1)
    specificity = (coherence * rarity * length * about).astype(np.float32)
    profile = _profiles(encode, [text.casefold() for text in written])
    around = np.stack([space.around(posted[key]) for key in keys])
    places = _join(profile, around)
    offsets, keyword, weight = _post(keys, catalogue, specificity, len(vectors))
    item_profile = np.zeros((len(vectors), profile.shape[1]), np.float32)
    np.add.at(
        item_profile,
        np.repeat(np.arange(len(vectors)), np.diff(offsets)),
        weight[:, None] * profile[keyword],
    )
    return Keywords(
        written, kinds, (counts / max(len(vectors), 1)).astype(np.float32), specificity, places,
        offsets, keyword, weight, _join(unit_rows(item_profile), space.centred), [list(k) for k in keys],
        shouting, [] if chosen else [_why_none(catalogue)],
    )  # fmt: skip


NO_TEXT = (
    "No titles, categories or tags say what items are: journeys are named by searches, boards and item ids. "
    "Import items with a title."
)
NO_COMMON_WORDS = (
    "No words of titles, categories or tags stand for items that belong together: journeys are named by searches, "
    "boards and titles of single items. Give items a category or tags."
)


class _Space:
    """The items' vectors, centred: any two have a cosine of about 0."""

    def __init__(self, vectors: FloatMatrix, usable: BoolVector, described: BoolVector) -> None:
        self.usable = usable
        mean = vectors[usable].mean(axis=0) if usable.any() else np.zeros(vectors.shape[1])
        self._vectors = vectors
        # Two items that say something are more alike than two of any: it is such pairs that a phrase must beat.
        said = vectors[described].mean(axis=0) if described.any() else mean
        self._base = float(said @ said)
        self._mean = mean.astype(np.float32)
        self.centred = np.where(usable[:, None], unit_rows(vectors - self._mean), np.float32(0))

    def coherence(self, items: Sequence[int]) -> float:
        """Give the mean cosine of items to each other above that of any two, drawn to 0 where they are few."""
        idx = np.asarray(items, np.int64)
        idx = idx[self.usable[idx]]
        n = len(idx)
        if n < 2:
            return 0.0
        total = self._vectors[idx].sum(axis=0, dtype=np.float64)
        return ((float(total @ total) - n) / (n * (n - 1)) - self._base) * n / (n + DAMPING)

    def around(self, items: Sequence[int]) -> FloatVector:
        """Give where items stand together, shape [D]; zero if none has a vector."""
        idx = np.asarray(items, np.int64)
        total = self.centred[idx].sum(axis=0) if len(idx) else np.zeros_like(self._mean)
        norm = float(np.linalg.norm(total))
        return np.asarray(total / norm if norm > 0 else total, np.float32)


@dataclass(slots=True)
class _Catalogue:
    """The catalogue as phrases: which items have each, and which of them somebody chose as a tag or category."""

    runs: list[list[Run]]
    phrases: list[dict[Key, str]]
    wholes: list[dict[Key, int]]
    posted: dict[Key, list[int]]
    named: dict[Key, tuple[int, str]]

    def kind(self, key: Key) -> int:
        """PHRASE, TAG or CATEGORY."""
        return self.named[key][0] if key in self.named else PHRASE

    def write(self, key: Key, shouting: bool) -> str:
        """Write a phrase as most texts write it; empty for one that no item has."""
        if key in self.named:
            return self.named[key][1]
        seen = Counter(
            self.phrases[i][key] for i in self.posted.get(key, ()) if key in self.phrases[i]
        )
        if not seen:
            return ""
        text = max(seen.items(), key=lambda pair: (pair[1], pair[0]))[0]
        return text.lower() if shouting else text

    def about(self, keys: Sequence[Key]) -> FloatVector:
        """Give how particular the words of each phrase are, shape [K]; 1 for what somebody chose."""
        words: dict[str, int] = {}
        rows = [
            [words.setdefault(w, len(words)) for run in runs for w in run.key] for runs in self.runs
        ]
        value = aboutness(rows, len(words))
        out = [
            1.0
            if key in self.named
            else float(np.mean([value[words[w]] for w in key if w in words] or [1.0]))
            for key in keys
        ]
        return np.array(out, np.float32).clip(0.3, 1.5)


def _read(texts: pl.DataFrame) -> _Catalogue:
    found = _Catalogue([], [], [], defaultdict(list), {})
    columns = texts.select("title", "description", "category", "tags")
    for i, (title, description, category, tags) in enumerate(columns.iter_rows()):
        runs = runs_of(plain(title), TITLE_WORDS)
        runs += runs_of(plain(description), DESCRIPTION_WORDS)
        wholes: dict[Key, int] = {}
        categories, labels = parts_of(category, tags)
        for kind, parts in ((CATEGORY, categories), (TAG, labels)):
            for part in parts[:PER_ITEM_WHOLE]:
                key = whole_key(part)
                if key:
                    wholes.setdefault(key, kind)
                    found.named.setdefault(key, (kind, part))
        found.runs.append(runs)
        found.phrases.append(phrases_of(runs))
        found.wholes.append(wholes)
        for key in found.phrases[-1].keys() | wholes.keys():
            found.posted[key].append(i)
    return found


def _choose(catalogue: _Catalogue, space: _Space, held: set[Key]) -> set[Key]:
    """Choose the phrases that belong together, each set of items once, by its longest phrase.

    Those ``held`` are keywords of before, which stay unless they fell apart.
    """
    n = len(catalogue.runs)
    posted = catalogue.posted
    most = max(MOST_SHARE * n, SMALL_CATALOGUE)
    weak = {
        key[0]
        for key, items in posted.items()
        if len(key) == 1 and len(items) >= max(0.003 * n, 10) and space.coherence(items) < WEAK_WORD
    }
    good: dict[Key, float] = {}
    for key, items in posted.items():
        whole = key in catalogue.named
        if len(items) < (2 if whole else LEAST_ITEMS) or (len(items) > most and not whole):
            continue
        if not whole and key not in held and (key[0] in weak or key[-1] in weak):
            continue
        value = space.coherence(items)
        enough = (COHERENT_WHOLE if whole else COHERENT) * (HELD if key in held else 1.0)
        if value > enough or (whole and not space.usable[items].any()):
            good[key] = value
    speaker: dict[tuple[int, ...], Key] = {}
    for key in sorted(good, key=lambda k: (k in catalogue.named, k in held, len(k), k)):
        speaker[tuple(posted[key])] = key
    kept = set(speaker.values())
    swallowed = {
        shorter
        for key in kept
        if len(key) > 1
        for shorter in (key[:-1], key[1:], key[:1], key[-1:])
        if shorter in kept
        and shorter not in catalogue.named
        and shorter not in held
        and len(posted[key]) >= 0.75 * len(posted[shorter])
    }
    return kept - swallowed


@dataclass(slots=True)
class _HeardOne:
    kind: int
    text: str
    people: set[int]
    item_idx: list[int]


def _heard(said: Said) -> dict[Key, _HeardOne]:
    """Searches and boards of at least two people, as keywords."""
    found: dict[Key, _HeardOne] = {}
    rows = zip(said.text, said.kind, said.user_key.tolist(), said.item_idx.tolist(), strict=True)
    for text, kind, user_key, item_idx in rows:
        key = whole_key(text)
        if not key or len(key) > LONGEST_SEARCH:
            continue
        one = found.setdefault(key, _HeardOne(kind, " ".join(plain(text).split()), set(), []))
        one.kind = min(one.kind, kind)
        one.people.add(user_key)
        one.item_idx.append(item_idx)
    return {key: one for key, one in found.items() if len(one.people) >= LEAST_PEOPLE}


def _profiles(encode: TextEncoder, texts: list[str]) -> FloatMatrix:
    """Vectors of texts, centred and reduced, shape [K, at most PROFILE_DIM]."""
    wide = encode(texts)
    wide = unit_rows(wide - wide.mean(axis=0)) if len(texts) > 1 else wide
    return unit_rows(principal_rows(wide, min(PROFILE_DIM, wide.shape[1])))


def _join(profile: FloatMatrix, around: FloatMatrix) -> FloatMatrix:
    """Put words and vectors together as unit rows; where one is missing the other speaks alone."""
    text, rest = np.float32(TEXT_SHARE**0.5), np.float32((1 - TEXT_SHARE) ** 0.5)
    return unit_rows(np.concatenate([text * profile, rest * around], axis=1))


def _post(
    keys: list[Key], catalogue: _Catalogue, specificity: FloatVector, n_items: int
) -> tuple[IntVector, IndexVector, FloatVector]:
    """Give each item its most specific keywords."""
    number = {key: k for k, key in enumerate(keys)}
    sizes, keyword, weight = np.zeros(n_items, np.int64), [], []
    for i, (phrases, wholes) in enumerate(zip(catalogue.phrases, catalogue.wholes, strict=True)):
        own = [number[key] for key in phrases.keys() - wholes.keys() if key in number]
        own.sort(key=lambda k: (-specificity[k], k))
        whole = sorted(
            (number[key] for key in wholes if key in number), key=lambda k: (-specificity[k], k)
        )
        mine = [*own[:PER_ITEM], *whole[: 2 * PER_ITEM_WHOLE]]
        mine.sort(key=lambda k: (-specificity[k], k))
        values = specificity[mine]
        sizes[i] = len(mine)
        keyword += mine
        weight.append(values / values.sum() if mine else values)
    return (
        np.concatenate([[0], np.cumsum(sizes)]),
        np.array(keyword, np.int32),
        np.concatenate(weight).astype(np.float32) if weight else np.zeros(0, np.float32),
    )


def _why_none(catalogue: _Catalogue) -> str:
    """Say why no text of the catalogue became a keyword."""
    return NO_COMMON_WORDS if any(catalogue.phrases) or catalogue.named else NO_TEXT


def _nothing(n_items: int, space: _Space, catalogue: _Catalogue) -> Keywords:
    empty = np.zeros(0, np.float32)
    profile = np.zeros((n_items, 0), np.float32)
    return Keywords(
        [], np.zeros(0, np.int32), empty, empty, np.zeros((0, space.centred.shape[1]), np.float32),
        np.zeros(n_items + 1, np.int64), np.zeros(0, np.int32), empty, _join(profile, space.centred), [],
        notes=[_why_none(catalogue)],
    )  # fmt: skip


def said_from(rows: Iterable[tuple[int, int, str | None, str | None]]) -> Said:
    """Gather searches and boards from ``(user_key, item_idx, query, board)``."""
    text: list[str] = []
    kind: list[int] = []
    users: list[int] = []
    items: list[int] = []
    for user_key, item_idx, query, board in rows:
        for one, what in ((query, QUERY), (board, BOARD)):
            if one and one.strip():
                text.append(one)
                kind.append(what)
                users.append(user_key)
                items.append(item_idx)
    return Said(text, kind, np.array(users, np.int64), np.array(items, np.int64))

"""Finding items by their words: all titles, categories and tags in memory, in small letters.

A text index in the database would cost every import; a scan of 100,000 short texts takes a few milliseconds a word.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import polars as pl

from wayline.errors import InputError, shorten
from wayline.schema import NO_ITEM, IntVector
from wayline.storage.store import Store

MOST_CHARACTERS = 200
READ_ROWS = 20_000
"""Items read at a time: descriptions come with the other texts, and may be long."""
EXACT, SAME_ID, ID_BEGINS, TITLE_BEGINS, TITLE_SAYS, TITLE_HAS_WORDS, ELSEWHERE = range(7)
"""How well an item answers, best first."""


@dataclass(frozen=True, slots=True)
class _Read:
    version: int
    frame: pl.DataFrame


class ItemTexts:
    """The words of every item, read anew when the catalogue changed; ids that only actions name are added as they come.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._read = _Read(-1, _frame(store, 0, 0))

    def find(self, query: str, often: IntVector, limit: int) -> IntVector:
        """Give the keys of items that have every word of a query, shape [at most ``limit``].

        A word may be a part of one in title, category or tags, or of the id; small and large letters are the same. An
        id that is the query comes first, then ids and titles that begin with it, titles that hold it, titles with all
        its words, and the others; the more often acted on before the less.

        Parameters
        ----------
        query : str
        often : int64 array, shape [N or less]
            How often each item was acted on, by position.

        Raises
        ------
        InputError
            If the query is longer than 200 characters.
        """
        if len(query) > MOST_CHARACTERS:
            raise InputError(
                f"Got the query {shorten(query)} of {len(query):,} characters, expected at most {MOST_CHARACTERS}.",
                field="query",
            )
        words = query.lower().split()
        if not words:
            return np.empty(0, np.int64)
        rows = self.frame()
        for word in dict.fromkeys(words):
            there = pl.col("words").str.contains(word, literal=True)
            rows = rows.filter(there | pl.col("id_words").str.contains(word, literal=True))
        counts = pl.Series("often", counts_of(rows["item_key"].to_numpy(), often))
        ranked = rows.with_columns(_rank(query, words).alias("rank"), counts)
        best = ranked.sort(["rank", "often", "item_key"], descending=[False, True, False])
        return best["item_key"].head(limit).to_numpy()

    def frame(self) -> pl.DataFrame:
        """``item_key, item_id, title, id_words, words`` of all items that are any; the last two in small letters."""
        version, count = self._store.items_version(), self._store.count_items()
        read = self._read
        if read.version == version and read.frame.height == count:
            return _shown(read.frame)
        with self._lock:
            read = self._read
            if read.version != version:
                read = _Read(version, _frame(self._store, 0, count))
            elif read.frame.height < count:
                more = _frame(self._store, read.frame.height, count)
                read = _Read(version, pl.concat([read.frame, more]))
            self._read = read
        return _shown(read.frame)


def counts_of(keys: IntVector, often: IntVector) -> IntVector:
    """Give the counts of some items, shape [len(keys)], from those by position; 0 for an item after the last."""
    counts = np.zeros(len(keys), np.int64)
    known = keys <= len(often)
    counts[known] = often[keys[known] - 1]
    return counts


def _frame(store: Store, after: int, until: int) -> pl.DataFrame:
    """The words of the items with ``after < item_key <= until``."""
    schema = {
        "item_key": pl.Int64,
        **dict.fromkeys(("item_id", "title", "id_words", "words"), pl.String),
    }
    parts = [pl.DataFrame(schema=schema)]
    for start in range(after, until, READ_ROWS):
        keys = np.arange(start + 1, min(start + READ_ROWS, until) + 1)
        texts = store.item_texts(keys).with_columns(
            pl.Series("item_id", store.item_ids(keys), dtype=pl.String)
        )
        words = pl.concat_str(
            "title", "category", pl.col("tags").list.join("\n"), separator="\n", ignore_nulls=True
        )
        parts.append(
            texts.select(
                "item_key",
                "item_id",
                pl.col("title").fill_null(""),
                id_words=pl.col("item_id").str.to_lowercase(),
                words=words.str.to_lowercase(),
            )
        )
    return pl.concat(parts)


def _shown(frame: pl.DataFrame) -> pl.DataFrame:
    """Without what stands for no item."""
    return frame.filter(pl.col("item_id") != NO_ITEM)


def _rank(query: str, words: list[str]) -> pl.Expr:
    """How well each row answers."""
    asked, phrase = query.strip(), " ".join(words)
    title = pl.col("title").str.to_lowercase()
    return (
        pl.when(pl.col("item_id") == asked).then(EXACT)
        .when(pl.col("id_words") == asked.lower()).then(SAME_ID)
        .when(pl.col("id_words").str.starts_with(asked.lower())).then(ID_BEGINS)
        .when(title.str.starts_with(phrase)).then(TITLE_BEGINS)
        .when(title.str.contains(phrase, literal=True)).then(TITLE_SAYS)
        .when(pl.all_horizontal(title.str.contains(word, literal=True) for word in words))
        .then(TITLE_HAS_WORDS)
        .otherwise(ELSEWHERE)
    )  # fmt: skip

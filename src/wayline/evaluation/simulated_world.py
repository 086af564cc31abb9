"""The catalogue that simulated people live in: topics made from titles or tags alone, and how appealing each item is.

Nothing here knows of an engine's vectors, clusters or interests: the truth of a simulation must not be the system's
own view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from wayline.schema import IntVector

# Words that say how a thing looks or is packed, not what it is: they would make topics of colours.
LOOKS = frozenset(
    [
        "assorted",
        "black",
        "blue",
        "colour",
        "cream",
        "design",
        "designs",
        "english",
        "french",
        "gold",
        "green",
        "heart",
        "hearts",
        "ivory",
        "large",
        "medium",
        "mini",
        "natural",
        "orange",
        "pack",
        "pair",
        "piece",
        "pink",
        "polkadot",
        "red",
        "retro",
        "retrospot",
        "round",
        "set",
        "silver",
        "small",
        "spotty",
        "vintage",
        "white",
        "yellow",
    ]
)

FloatColumn = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class World:
    """A catalogue as its people see it.

    Attributes
    ----------
    item_ids : list of str, N
    topic : int64 array, shape [N]
        -1 for items of no topic.
    names : list of str
        Of the topics, the largest topic first.
    appeal : float64 array, shape [N]
        How much likelier than others an item is to be taken, about 1 on average.
    """

    item_ids: list[str]
    topic: IntVector
    names: list[str]
    appeal: FloatColumn

    def items_of(self, topic: int) -> IntVector:
        """Positions of a topic's items."""
        return np.flatnonzero(self.topic == topic)


def topics_of_titles(
    items: pl.DataFrame,
    *,
    clusters: int = 40,
    smallest: int = 60,
    largest: int = 180,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Group items by the words of their titles: k-means on TF-IDF, keeping groups of workable size.

    Too small a topic is used up by one person; too large a one is what k-means had no place for. What is in neither
    kept group has no topic.

    Parameters
    ----------
    items : DataFrame
        With ``item_id`` and ``title``.
    clusters : int
    smallest, largest : int
        Items a topic may have.
    seed : int
        Of k-means.
    """
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

    words = TfidfVectorizer(
        token_pattern=r"[a-z]{3,}",
        stop_words=sorted(ENGLISH_STOP_WORDS | LOOKS),
        min_df=min(5, items.height),
    )
    titles = words.fit_transform(items["title"].fill_null("").str.to_lowercase().to_list())
    fitted = KMeans(min(clusters, items.height), n_init=3, random_state=seed).fit(titles)
    vocabulary = words.get_feature_names_out()
    ids = items["item_id"].to_numpy()
    found: dict[str, list[str]] = {}
    for cluster in range(fitted.n_clusters):
        members = ids[fitted.labels_ == cluster].tolist()
        if smallest <= len(members) <= largest:
            top = np.argsort(-fitted.cluster_centers_[cluster], kind="stable")[:3]
            found[" ".join(vocabulary[top])] = members
    return found


def topics_of_tags(
    items: pl.DataFrame, *, smallest: int = 60, largest: int = 1000
) -> dict[str, list[str]]:
    """Group items by their rarest tag (a film's most telling genre), keeping groups of workable size."""
    tagged = items.select("item_id", tag="tags").explode("tag").drop_nulls()
    rarest = tagged.with_columns(n=pl.len().over("tag")).sort("n", "tag", "item_id")
    groups = (
        rarest.unique("item_id", keep="first").sort("item_id").group_by("tag").all().sort("tag")
    )
    return {
        tag: ids
        for tag, ids in groups.select("tag", "item_id").iter_rows()
        if smallest <= len(ids) <= largest
    }


def make_world(
    item_ids: Sequence[str],
    topics: Mapping[str, Sequence[str]],
    counts: Mapping[str, int],
    rng: np.random.Generator,
) -> World:
    """Give each item its topic and its appeal: half of it how often people took it, half its own luck.

    Parameters
    ----------
    item_ids : sequence of str
        The catalogue.
    topics : {name: item ids}
    counts : {item id: actions}
        Of the log that the catalogue comes with.
    rng : Generator
    """
    names = sorted(topics, key=lambda name: (-len(topics[name]), name))
    row = {item_id: k for k, item_id in enumerate(item_ids)}
    topic = np.full(len(item_ids), -1, np.int64)
    for number, name in enumerate(names):
        topic[[row[item_id] for item_id in topics[name]]] = number
    taken = np.array([counts.get(item_id, 0) for item_id in item_ids])
    rank = np.argsort(np.argsort(taken, kind="stable"), kind="stable") / max(len(taken) - 1, 1)
    return World(list(item_ids), topic, names, 0.5 + 0.5 * rank + 0.5 * rng.random(len(item_ids)))

"""Related journeys: what people on one are on as well, made offline and the same for all (User Journeys 2025,
stage 5).

Pinterest asks a language model, for each journey once; co-occurrence needs none, and knows only what people do. Both
may fill the table; who reads it ranks its lines for the person.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import polars as pl

from wayline.journeys.keywords import Keywords
from wayline.journeys.names import name_key
from wayline.schema import FloatVector

LEAST_PEOPLE = 3  # on both; nobody is to be recognised by an unusual journey
KEPT = 10
DOUBT = 5.0  # people's worth of doubt
MOST_NAMES = 60  # of a person, the best first

Related = Mapping[str, Sequence[str]]
"""By :func:`name_key`: names of related journeys, the closest first."""


def related_journeys(table: pl.DataFrame) -> dict[str, list[str]]:
    """Count which journeys people are on together more often than by chance.

    A pair scores the share of the one's people who are on the other, damped, times the logarithm of how much more that
    is than the share of all.

    Parameters
    ----------
    table : DataFrame
        ``user_key, name`` of everybody's journeys, each person's best first.
    """
    written: dict[str, Counter[str]] = defaultdict(Counter)
    people: list[list[str]] = []
    for (_,), part in table.select("user_key", "name").group_by(["user_key"], maintain_order=True):
        names = part["name"].head(MOST_NAMES).to_list()
        keys = [name_key(name) for name in names]
        for key, name in zip(keys, names, strict=True):
            written[key][name] += 1
        people.append(sorted(set(keys)))
    single = Counter(key for keys in people for key in keys)
    common = {key for key, count in single.items() if count >= LEAST_PEOPLE}
    pairs: Counter[tuple[str, str]] = Counter()
    for keys in people:
        pairs.update(combinations([key for key in keys if key in common], 2))
    scored: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for (a, b), both in pairs.items():
        if both < LEAST_PEOPLE:
            continue
        lift = np.log(both * len(people) / (single[a] * single[b]))
        if lift > 0:
            scored[a].append((float(both / (single[a] + DOUBT) * lift), b))
            scored[b].append((float(both / (single[b] + DOUBT) * lift), a))
    spelling = {
        key: min(c.items(), key=lambda pair: (-pair[1], pair[0]))[0] for key, c in written.items()
    }
    return {
        key: [
            spelling[other]
            for _, other in sorted(found, key=lambda pair: (-pair[0], pair[1]))[:KEPT]
        ]
        for key, found in sorted(scored.items())
    }


def related_to(
    related: Related,
    name: str,
    own: Sequence[str],
    keywords: Keywords,
    taste: FloatVector,
    most: int = 3,
) -> list[str]:
    """Give what to say beside a journey: related ones that the person is not on, those nearest to them first.

    Parameters
    ----------
    own : sequence of str
        Names of all journeys of the person.
    taste : float32 array, shape [P]
        The middle of what they did, a unit vector.
    """
    mine = {name_key(one) for one in own}
    found = [one for one in related.get(name_key(name), ()) if name_key(one) not in mine]

    def worth(at: int) -> float:
        number = keywords.find(found[at])
        near = float(keywords.places[number] @ taste) if number is not None else 0.0
        return 1.0 / (1 + at) + near  # its place in the table, and how well it suits

    return [found[at] for at in sorted(range(len(found)), key=lambda at: (-worth(at), at))[:most]]

"""Ways to stand for a person by a few vectors: PinnerSage's own, and its rivals."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from wayline.evaluation.history import unit
from wayline.evaluation.vector_baselines import k_means, medoids
from wayline.interests.ward import WardClusterer
from wayline.schema import FloatMatrix, FloatVector, IntVector


@dataclass(frozen=True, slots=True)
class Person:
    """What a method may see of a person at one moment.

    Attributes
    ----------
    vectors : float32 array, shape [M, D]
        Unit vectors of the items acted on, oldest first.
    age_days : float32 array, shape [M]
        How long ago.
    seed : tuple of int
        Every method draws from a generator of this seed, so that luck is the same for all.
    """

    vectors: FloatMatrix
    age_days: FloatVector
    seed: tuple[int, ...]
    _labels: dict[Hashable, IntVector] = field(default_factory=dict)

    def labels(self, by: Clusterer) -> IntVector:
        """Cluster labels [M], made once however many methods ask for the same clustering."""
        if by not in self._labels:
            self._labels[by] = by.labels(self.vectors, np.random.default_rng(self.seed))
        return self._labels[by]


class Clusterer(Hashable, Protocol):
    """Parts a person's vectors into groups."""

    def labels(self, X: FloatMatrix, rng: np.random.Generator) -> IntVector:
        """Labels 0..Q-1 of rows [M, D]."""
        ...


class Representation(Protocol):
    """Gives the vectors that stand for a person: the queries of retrieval."""

    def queries(self, person: Person) -> FloatMatrix:
        """Unit vectors, shape [E, D], E >= 1."""
        ...


@dataclass(frozen=True)
class Ward:
    """Ward's merges up to ``alpha`` (PinnerSage 2020, algorithm 1)."""

    alpha: float = 0.6

    def labels(self, X: FloatMatrix, rng: np.random.Generator) -> IntVector:
        return WardClusterer(self.alpha).fit(X).labels_


@dataclass(frozen=True)
class CompleteLinkage:
    """Merges while the farthest two members stay within ``max_distance_sq`` (of unit vectors)."""

    max_distance_sq: float = 0.8

    def labels(self, X: FloatMatrix, rng: np.random.Generator) -> IntVector:
        from scipy.cluster.hierarchy import fcluster, linkage

        if len(X) < 2:
            return np.zeros(len(X), dtype=np.int64)
        tree = linkage(X.astype(np.float64), "complete")
        found = fcluster(tree, np.sqrt(self.max_distance_sq), "distance")
        return np.asarray(found, dtype=np.int64) - 1


@dataclass(frozen=True)
class KMeans:
    """A fixed number of clusters, whatever the person."""

    k: int = 5

    def labels(self, X: FloatMatrix, rng: np.random.Generator) -> IntVector:
        return k_means(X, self.k, rng)


@dataclass(frozen=True)
class LastItem:
    """The newest item speaks for all."""

    def queries(self, person: Person) -> FloatMatrix:
        return person.vectors[-1:]


@dataclass(frozen=True)
class DecayedMean:
    """One mean, older actions counting less: ``exp(-decay_per_day * age)``."""

    decay_per_day: float = 0.01

    def queries(self, person: Person) -> FloatMatrix:
        weight = _decay(person.age_days, self.decay_per_day)
        return unit((weight @ person.vectors)[None])


@dataclass(frozen=True)
class Clusters:
    """One vector a cluster, ``sample`` of them drawn in proportion to importance (PinnerSage 2020).

    Attributes
    ----------
    by : Clusterer
    point : str
        ``"medoid"``, an item of the cluster (eq. 2), or ``"centroid"``, its mean.
    sample : int, optional
        How many clusters speak; drawn without putting back. All, if not given.
    decay_per_day : float
        Lambda of eq. 3; days are our choice of unit, the paper gives none.
    """

    by: Clusterer = field(default_factory=Ward)
    point: Literal["medoid", "centroid"] = "medoid"
    sample: int | None = 3
    decay_per_day: float = 0.01

    def queries(self, person: Person) -> FloatMatrix:
        labels = person.labels(self.by)
        clusters = int(labels.max()) + 1
        if self.point == "medoid":
            points = person.vectors[medoids(person.vectors, labels)]
        else:
            member = (labels == np.arange(clusters)[:, None]).astype(np.float32)
            points = unit(member @ person.vectors)
        weight = np.bincount(labels, _decay(person.age_days, self.decay_per_day)).astype(float)
        return np.asarray(points[draw(weight, self.sample, np.random.default_rng(person.seed))])


def draw(
    weight: npt.NDArray[np.floating], sample: int | None, rng: np.random.Generator
) -> IntVector:
    """Draw positions in proportion to weight, without putting back (Efraimidis & Spirakis 2006)."""
    if sample is None or sample >= len(weight):
        return np.arange(len(weight), dtype=np.int64)
    keys = np.log(np.maximum(weight, 1e-300)) + rng.gumbel(size=len(weight))
    return np.argsort(-keys)[:sample].astype(np.int64)


def _decay(age_days: FloatVector, decay_per_day: float) -> FloatVector:
    return np.asarray(np.exp(-decay_per_day * age_days), dtype=np.float32)


def paper_methods(alpha: float = 0.6, complete_sq: float = 0.8) -> dict[str, Representation]:
    """The rows of the paper's table 3 that need no trained sequence model, the base line first."""
    ward = Ward(alpha)
    return {
        "last item": LastItem(),
        "decayed mean (0.01)": DecayedMean(0.01),
        "k-means(5), medoid, 3": Clusters(KMeans(5)),
        "complete linkage, medoid, 3": Clusters(CompleteLinkage(complete_sq)),
        "Ward, centroid, 3": Clusters(ward, point="centroid"),
        "Ward, medoid, 1": Clusters(ward, sample=1),
        "Ward, medoid, 3": Clusters(ward),
        "Ward, medoid, all": Clusters(ward, sample=None),
        "Ward, medoid, 3, decay 0": Clusters(ward, decay_per_day=0.0),
        "Ward, medoid, 3, decay 0.1": Clusters(ward, decay_per_day=0.1),
    }

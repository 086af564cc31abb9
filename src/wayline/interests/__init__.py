"""Interests: Ward clusters of a person's items, each with a medoid, an importance and a name."""

from __future__ import annotations

from wayline.interests.identity import match_ids
from wayline.interests.importance import importance, importance_by_label
from wayline.interests.interests import InterestSet, find_interests, find_interests_many
from wayline.interests.labels import Labeller
from wayline.interests.ward import BatchClusters, WardClusterer, cluster_many, ward_reference

__all__ = [
    "BatchClusters",
    "InterestSet",
    "Labeller",
    "WardClusterer",
    "cluster_many",
    "find_interests",
    "find_interests_many",
    "importance",
    "importance_by_label",
    "match_ids",
    "ward_reference",
]

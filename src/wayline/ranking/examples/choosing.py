"""Which reading a training uses: by the encoder, and by whether there are impressions to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wayline.config import Config, RankingConfig
from wayline.errors import ConfigError
from wayline.ranking.examples.readings import SELECTS, SequenceReading, reading_of
from wayline.ranking.examples.windows import LATE
from wayline.ranking.selection import TokenShares
from wayline.schema import IntVector
from wayline.storage.store import Store

if TYPE_CHECKING:
    from wayline.ranking.learned import LearnedRanker

ASKED = 200  # people, to see whether feeds were shown


def choose_reading(
    config: Config,
    store: Store,
    user_idx: IntVector,
    ts_ms: IntVector,
    action_names: tuple[str, ...],
    *,
    go_on: LearnedRanker | None = None,
) -> SequenceReading:
    """Say how the ranker to be trained reads sequences.

    Parameters
    ----------
    user_idx, ts_ms : int64 arrays, shape [M]
        Of the log, oldest first.
    action_names : tuple of str
    go_on : LearnedRanker, optional
        Whose weights are trained further: its places and its names stay.
    """
    settings = config.ranking
    places: tuple[int, ...] = ()
    if go_on is not None:
        places, action_names = go_on.description.places, go_on.description.action_names
    elif settings.encoder in SELECTS:
        shown = config.sequences.impressions > 0 and most_were_shown(store, user_idx, ts_ms)
        places = TokenShares.of_total(settings.tokens, impressions=shown).places
    return reading_of(
        settings.tokens, places, action_names, config.sequences, threads=settings.threads
    )


def most_were_shown(store: Store, user_idx: IntVector, ts_ms: IntVector) -> bool:
    """Say whether most of the people who acted of late had been shown something by then.

    A part of the sequence that is empty in training and full when serving would be read by weights nobody trained.
    """
    late_ts_ms = int(ts_ms[int(len(ts_ms) * (1 - LATE))])
    users = np.unique(user_idx[ts_ms >= late_ts_ms])
    asked = users[np.linspace(0, len(users) - 1, min(len(users), ASKED)).astype(int)]
    shown = [
        len(store.user_impressions(int(user) + 1, until_ts_ms=late_ts_ms, limit=1))
        for user in asked
    ]
    return sum(shown) > len(shown) / 2


def require_same_encoder(serving: LearnedRanker, settings: RankingConfig) -> None:
    """Refuse to go on from a ranker that reads otherwise than the settings say: its weights mean something else.

    Raises
    ------
    ConfigError
    """
    found, places = serving.ranker.config.encoder, serving.description.tokens
    if found != settings.encoder:
        raise ConfigError(
            f"Got ranking.encoder = {settings.encoder!r}, but the ranker in use is a {found!r}: train anew without "
            f"--continue, or set encoder = {found!r}.",
            field="ranking.encoder",
        )
    if found in SELECTS and places != settings.tokens:
        raise ConfigError(
            f"Got ranking.tokens = {settings.tokens}, but the ranker in use has {places} places: train anew without "
            f"--continue, or set tokens = {places}.",
            field="ranking.tokens",
        )

"""Train a ranker from a workspace's own log and publish it beside the rest of the generation, if it is better.

Examples are sampled point-in-time (``ranking/examples/sampled.py``) from the newest part of the log. The last slice of
it is held back: half of its people decide when training stops, the other half whether the result serves.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wayline.builder import (
    KEPT_GENERATIONS,
    LogColumns,
    Progress,
    Stopwatch,
    past_vectors,
    read_log,
)
from wayline.config import Config
from wayline.errors import RankerError, TooLittleToTrainError
from wayline.ranking.examples.heads import Heads, choose_heads
from wayline.ranking.examples.requests import Examples
from wayline.ranking.examples.sampled import Past, People, ask, sample_examples
from wayline.ranking.examples.served import served_examples
from wayline.ranking.features import ItemState
from wayline.ranking.leaks import find_leaks
from wayline.ranking.learned import FOLDER, LearnedRanker
from wayline.ranking.spaces import Space
from wayline.ranking.training.inputs import ItemInputs
from wayline.ranking.training.material import Material
from wayline.retrieval.fit import Wants, count_tables
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.recipe import Recipe
from wayline.retrieval.signals import HALF_LIVES_DAYS, SignalTables
from wayline.schema import BoolVector, FloatMatrix
from wayline.sequences.history import Worths
from wayline.storage.generations import MANIFEST, Generations
from wayline.storage.store import Store

LATE = 0.24  # of the first-time wants, the newest: what examples are about
HELD = 0.25  # of those, the newest: what stops training and decides
HELD_REQUESTS = 0.3  # as many as this share of the requests trained on
ALL_CANDIDATES = 1_000_000
LEAST_REQUESTS = 200  # moments that something retrieved was answered at; fewer teach nothing
LEAST_HELD = 60
LEARNED_ID_ACTIONS = 5  # of an item, before its id is learned
LEAK_QUESTIONS = 60
STEPS = ("read the log", "make examples", "train", "decide", "publish")


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training: the generation that serves now, and why it is this one.

    Attributes
    ----------
    generation : str
    published : bool
    report : dict
        ``decided`` ("ranker", "kept"), ``why``, metrics, sizes, seconds.
    """

    generation: str
    published: bool
    report: dict[str, Any]


def train_generation(
    store: Store,
    generations: Generations,
    config: Config,
    *,
    now_ts_ms: int,
    cache: Path,
    progress: Progress,
    go_on: bool = False,
) -> Trained:
    """Train on the log that the current generation was built from; hold ``generations.lock()``.

    Parameters
    ----------
    cache : Path
        Where text vectors and checkpoints are kept.
    go_on : bool
        Start from the ranker in use instead of from nothing (``--continue``).

    Raises
    ------
    TooLittleToTrainError
        If the log holds too few answered moments, or only one kind of answer. What served before goes on serving.
    """
    watch = Stopwatch(progress)
    current = generations.current()
    assert current is not None, "a generation is built first"
    folder, manifest = generations.open(current)
    serving = _serving(folder, config)
    with watch.step(STEPS[0]):
        worths = Worths(config.actions, store.action_names())
        log = read_log(store, worths, int(manifest["until"]))
        action_names = tuple(store.action_names())
        heads = _heads(log, worths, action_names, config, serving if go_on else None)
        require_enough(log, heads)
    with watch.step(STEPS[1]) as share:
        material = make_material(
            store, config, log, heads, action_names, folder,
            serving=serving, newest_only=go_on, cache=cache, progress=share,
        )  # fmt: skip
    from wayline.ranking.training.fitting import decide, fit_ranker

    with watch.step(STEPS[2]) as share:
        learned = fit_ranker(
            material, config, serving if go_on else None,
            checkpoint=cache / "training.checkpoint", progress=share,
        )  # fmt: skip
    with watch.step(STEPS[3]):
        report = decide(material, learned, serving, config.ranking)
    if report["decided"] == "kept":
        return Trained(current, False, report | {"seconds": watch.seconds})
    with watch.step(STEPS[4]), generations.begin() as writer:
        link_files(folder, writer.path)
        (writer.path / FOLDER).mkdir()
        learned.over(np.load(folder / "vectors.npy")).save(writer.path / FOLDER)
        id_ = writer.publish(_manifest(manifest, report, watch.seconds, now_ts_ms))
    generations.prune(KEPT_GENERATIONS)
    return Trained(id_, True, report | {"seconds": watch.seconds})


def _manifest(
    before: Mapping[str, Any], report: dict[str, Any], seconds: dict[str, float], now_ts_ms: int
) -> dict[str, Any]:
    kept = {k: v for k, v in before.items() if k not in ("id", "files")}
    spent = {f"train: {name}": value for name, value in seconds.items()}
    return kept | {
        "created_at": now_ts_ms,
        "metrics": {**before["metrics"], "ranker": report},
        "seconds": {**before["seconds"], **spent},
    }


def _serving(folder: Path, config: Config) -> LearnedRanker | None:
    """The ranker in use; None without one, or if it cannot be read (a new one is the cure)."""
    if not (folder / FOLDER).exists():
        return None
    try:
        return LearnedRanker.load(folder / FOLDER, dtype="float32", threads=config.ranking.threads)
    except RankerError:
        return None


def _heads(
    log: LogColumns,
    worths: Worths,
    names: tuple[str, ...],
    config: Config,
    serving: LearnedRanker | None,
) -> Heads:
    if serving is not None:
        return serving.heads  # the weights have one output for each of these
    counts = np.bincount(log.action_key, minlength=len(names) + 1)
    keys = np.arange(len(names) + 1)
    return choose_heads(
        names,
        counts,
        worths.of(keys),
        config.feed.weights,
        window_hours=config.ranking.window_hours,
        regret_days=config.ranking.regret_days,
    )


def require_enough(log: LogColumns, heads: Heads) -> None:
    """Say what is missing.

    Raises
    ------
    TooLittleToTrainError
    """
    wanted = len(log.wants())
    least = int(LEAST_REQUESTS / LATE)
    if wanted < least:
        raise TooLittleToTrainError(
            f"The log holds {wanted:,} first-time actions worth more than 0, a ranker needs {least:,} "
            f"({least - wanted:,} more): go on with the recipe, and train later."
        )
    if not heads.wanting:
        raise TooLittleToTrainError(
            "No action worth more than 0 stands in the log often enough to be foretold (50 times): go on with the "
            "recipe, or name actions under [actions]."
        )


def make_material(
    store: Store,
    config: Config,
    log: LogColumns,
    heads: Heads,
    action_names: tuple[str, ...],
    folder: Path,
    *,
    serving: LearnedRanker | None,
    newest_only: bool,
    cache: Path,
    progress: Callable[[float], None],
) -> Material:
    """Make the examples of every window, and the item space they are read in."""
    settings = config.ranking
    rng = np.random.default_rng(settings.seed)
    wants = log.wants()
    people = People.of(
        log.user_idx, log.item_idx, log.action_key, log.ts_ms, log.worth, log.n_users
    )
    vectors = np.asarray(np.load(folder / "vectors.npy", mmap_mode="r"))
    space = serving.space if serving is not None else Space.of(vectors, settings.item_dim)
    recipe = Recipe.load(folder / "recipe.json").pinned(config.recipe.pins)
    popularity = Popularity(wants.ts_ms, wants.item_idx, wants.n_items, HALF_LIVES_DAYS, None)
    edges = _edges(wants, settings.windows, newest_only)
    parts: list[Examples] = []
    tables: list[FloatMatrix] = []
    for window in range(len(edges) - 1):
        held = window == len(edges) - 2
        past, found = _past(
            store, config, wants, popularity, recipe, folder, edges[window], window, cache
        )
        tables.append(space.table(found))
        fit_windows = len(edges) - 2
        wanted = settings.max_requests * (HELD_REQUESTS if held else 1 / max(fit_windows, 1))
        share = window / (len(edges) - 1)
        parts.append(
            sample_examples(
                people, past, ask(people, edges[window], edges[window + 1], int(wanted), rng), heads,
                negatives=ALL_CANDIDATES if held else settings.negatives,
                tokens=settings.tokens,
                rng=rng,
                exclude_seen=config.feed.repeat == "exclude",
                progress=partial(_within, progress, share, 1 / (len(edges) - 1)),
            )
        )  # fmt: skip
    late = parts[-1]
    tables.append(space.table(vectors))
    served = served_examples(
        store.scored_requests(until_ts_ms=edges[-2], limit=settings.max_requests),
        heads,
        tokens=settings.tokens,
        until_ts_ms=edges[-2],
        space=len(tables) - 1,
    )
    stops = late.user_idx % 2 == 0
    fit = _answered(Examples.joined([*parts[:-1], served]), heads)
    material = Material(
        fit, late.take(np.flatnonzero(stops)), late.take(np.flatnonzero(~stops)),
        ItemInputs(tables, _known(wants, tables[0], edges[-2]), len(action_names)),
        space, heads, action_names, log.until,
    )  # fmt: skip
    _require_answers(material)
    return material


def find_workspace_leaks(
    store: Store, generations: Generations, config: Config, *, cache: Path
) -> list[str]:
    """Check on the workspace's own log that no feature of a ranker's examples looks ahead; one line each that does."""
    current = generations.current()
    if current is None:
        return []
    folder, manifest = generations.open(current)
    worths = Worths(config.actions, store.action_names())
    log = read_log(store, worths, int(manifest["until"]))
    wants = log.wants()
    names = tuple(store.action_names())
    heads = _heads(log, worths, names, config, None)
    if len(wants) < 2:
        return []
    people = People.of(
        log.user_idx, log.item_idx, log.action_key, log.ts_ms, log.worth, log.n_users
    )
    recipe = Recipe.load(folder / "recipe.json")
    popularity = Popularity(wants.ts_ms, wants.item_idx, wants.n_items, HALF_LIVES_DAYS, None)
    cut, end = int(wants.ts_ms[int(len(wants) * (1 - LATE))]), int(wants.ts_ms[-1])
    past, _ = _past(store, config, wants, popularity, recipe, folder, cut, 0, cache)
    rng = np.random.default_rng(config.ranking.seed)
    questions = ask(people, cut, end, LEAK_QUESTIONS, rng)
    return find_leaks(people, wants, past, questions, heads, tokens=config.ranking.tokens)


def _within(progress: Callable[[float], None], begin: float, part: float, share: float) -> None:
    progress(begin + part * share)


def _edges(wants: Wants, windows: int, newest_only: bool) -> list[int]:
    """Times between the windows: ``windows`` to train on, then the one held back."""
    n = len(wants)
    begin = n * (1 - LATE) if not newest_only else n * (1 - LATE * (HELD + (1 - HELD) / windows))
    count = 1 if newest_only else windows
    end_of_fit = n * (1 - LATE * HELD)
    rows = [*np.linspace(begin, end_of_fit, count + 1), n - 1]
    return [int(wants.ts_ms[min(int(row), n - 1)]) for row in rows]


def _past(
    store: Store,
    config: Config,
    wants: Wants,
    popularity: Popularity,
    recipe: Recipe,
    folder: Path,
    cut_ts_ms: int,
    space: int,
    cache: Path,
) -> tuple[Past, FloatMatrix]:
    """What a feed would have read at the cut, and the vectors of then."""
    before = wants.where(wants.ts_ms <= cut_ts_ms)
    found = past_vectors(store, config, before, cache)
    born = np.load(folder / "born_ts_ms.npy")
    tables = SignalTables(count_tables(before), found, popularity, None)
    return Past(tables, ItemState(found, born, popularity), recipe, space), found


def _known(wants: Wants, table: FloatMatrix, until_ts_ms: int) -> BoolVector:
    """Items touched often enough, in the time trained on, for their id to mean something."""
    there = wants.item_idx[wants.ts_ms <= until_ts_ms]
    return np.asarray(np.bincount(there, minlength=len(table)) >= LEARNED_ID_ACTIONS)


def _answered(examples: Examples, heads: Heads) -> Examples:
    """Leave out what no candidate answered: it says nothing about an order."""
    return examples.take(np.flatnonzero(examples.answered(range(len(heads)))))


def _require_answers(material: Material) -> None:
    """Refuse to train or decide on a handful of answers.

    Raises
    ------
    TooLittleToTrainError
    """
    wanting = material.heads.wanting
    for name, examples, least in (
        ("to train on", material.fit, LEAST_REQUESTS),
        ("to stop on", material.stop, LEAST_HELD),
        ("to decide on", material.decide, LEAST_HELD),
    ):
        found = int(examples.answered(wanting).sum())
        if found < least:
            raise TooLittleToTrainError(
                f"{found:,} moments {name} were answered by something that retrieval knew, a ranker needs {least:,}: "
                "go on with the recipe, and train when there are more actions."
            )


def link_files(source: Path, target: Path) -> None:
    """Give a new generation the files of another: the same bytes where the disk can link, else copies."""
    for path in sorted(source.rglob("*")):
        place = path.relative_to(source)
        if path.name == MANIFEST or place.parts[0] == FOLDER:
            continue
        if path.is_dir():
            (target / place).mkdir(exist_ok=True)
            continue
        try:
            os.link(path, target / place)
        except OSError:  # another file system's rules
            shutil.copy2(path, target / place)

"""Train a ranker from a workspace's own log and publish it beside the rest of the generation, if it is better.

Examples are sampled point-in-time (``ranking/examples/sampled.py``) from the newest part of the log. The last slice of
it is held back: half of its people decide when training stops, the other half whether the result serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wayline.builder import KEPT_GENERATIONS, past_vectors
from wayline.config import Config
from wayline.errors import MissingPackageError, RankerError, TooLittleToTrainError
from wayline.log_columns import LogColumns, Progress, Stopwatch, read_log
from wayline.ranking.examples.choosing import choose_reading, require_same_encoder
from wayline.ranking.examples.heads import Heads, choose_heads
from wayline.ranking.examples.requests import Examples
from wayline.ranking.examples.sampled import Past, People, ask, sample_examples
from wayline.ranking.examples.served import served_examples
from wayline.ranking.examples.windows import LATE, choose_windows
from wayline.ranking.features import ItemState
from wayline.ranking.leaks import find_leaks
from wayline.ranking.learned import FOLDER, LearnedRanker
from wayline.ranking.spaces import Space
from wayline.ranking.training.inputs import ItemInputs
from wayline.ranking.training.material import Material
from wayline.retrieval.births import Births
from wayline.retrieval.fit import Wants, count_tables
from wayline.retrieval.next_item import NextItemModel
from wayline.retrieval.next_item.inference import FOLDER as NEXT_ITEM
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.recipe import Recipe
from wayline.retrieval.signals import HALF_LIVES_DAYS, SignalTables
from wayline.schema import BoolVector, FloatMatrix, ImpressionColumns
from wayline.sequences.history import Worths
from wayline.storage.generations import Generations, link_files
from wayline.storage.store import Store

if TYPE_CHECKING:
    from wayline.retrieval.next_item import NextItemProgress

ALL_CANDIDATES = 1_000_000
LEAST_REQUESTS = 200  # moments that something retrieved was answered at; fewer teach nothing
LEAST_HELD = 60
LEARNED_ID_ACTIONS = 5  # of an item, before its id is learned
LEAK_QUESTIONS = 60
STEPS = ("read the log", "make examples", "train", "decide", "learn what comes next", "publish")


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
    cache.mkdir(parents=True, exist_ok=True)  # a restored workspace has none
    current = generations.current()
    assert current is not None, "a generation is built first"
    folder, manifest = generations.open(current)
    serving = _serving(folder, config)
    if go_on and serving is not None:
        require_same_encoder(serving, config.ranking)
    with watch.step(STEPS[0]):
        worths = Worths(config.actions, store.action_names())
        log = read_log(store, worths, int(manifest["until"]))
        action_names = tuple(store.action_names())
        heads = _heads(log, worths, action_names, config, serving if go_on else None)
        require_enough(log, heads)
        if go_on and serving is not None:
            action_names = serving.description.action_names
    with watch.step(STEPS[1]) as share:
        material = make_material(
            store, config, log, heads, action_names, folder,
            serving=serving, newest_only=go_on, cache=cache, progress=share,
        )  # fmt: skip
    from wayline.ranking.training.deciding import decide
    from wayline.ranking.training.fitting import fit_ranker

    with watch.step(STEPS[2]) as share:
        learned, stop_logits = fit_ranker(
            material, config, serving if go_on else None,
            checkpoint=cache / "training.checkpoint", progress=share,
        )  # fmt: skip
    with watch.step(STEPS[3]):
        learned, report = decide(material, learned, stop_logits, serving, config.ranking)
    next_items = None
    if config.retrieval.sequence_s > 0:
        with watch.step(STEPS[4]) as share:
            next_items, report["sequence"] = _fit_next_items(log, config, share)
    kept = report["decided"] == "kept"
    if kept and next_items is None:
        return Trained(current, False, report | {"seconds": watch.seconds})
    with watch.step(STEPS[5]), generations.begin() as writer:
        made_anew = set() if kept else {FOLDER}
        if next_items is not None:
            made_anew.add(NEXT_ITEM)
        link_files(folder, writer.path, without=made_anew)
        for name in made_anew:
            (writer.path / name).mkdir()
        if not kept:
            learned.over(np.load(folder / "vectors.npy")).save(writer.path / FOLDER)
        if next_items is not None:
            next_items.save(writer.path / NEXT_ITEM)
        said = manifest["metrics"].get("ranker", {}) if kept else report
        id_ = writer.publish(_manifest(manifest, said, watch.seconds, now_ts_ms))
    generations.prune(KEPT_GENERATIONS)
    return Trained(id_, True, report | {"seconds": watch.seconds})


def _fit_next_items(
    log: LogColumns, config: Config, progress: Callable[[float], None]
) -> tuple[NextItemModel, dict[str, float]]:
    """Fit the model of the source ``sequence`` within its time; gives it with how well it did on held-out items."""
    from wayline.retrieval.next_item import fit_next_item

    wants, budget_s = log.wants(), config.retrieval.sequence_s
    found: list[dict[str, float]] = []

    def said(epoch: NextItemProgress) -> None:
        found.append({"hit_rate_at_10": epoch.hit_rate_10, "ndcg_at_10": epoch.ndcg_10})
        progress(min(epoch.elapsed_s / budget_s, 1.0))

    model = fit_next_item(
        wants.user_idx, wants.item_idx, wants.ts_ms, wants.n_items,
        seed=config.ranking.seed, budget_s=budget_s, progress=said,
    )  # fmt: skip
    return model, max(found, key=lambda epoch: epoch["ndcg_at_10"], default={})


def require_packages() -> None:
    """Refuse before anything is read where training cannot run.

    Raises
    ------
    MissingPackageError
    """
    missing = [name for name in ("torch", "safetensors") if find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"Training needs {' and '.join(missing)}, which this installation lacks: pip install 'wayline[ranking]'."
        )


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
        return LearnedRanker.load(
            folder / FOLDER, dtype="float32", threads=config.ranking.threads, sequences=config.sequences
        )  # fmt: skip
    except RankerError:
        return None


def _shown(store: Store, config: Config, user_idx: int, at_ts_ms: int) -> ImpressionColumns:
    return store.user_impressions(
        user_idx + 1, until_ts_ms=at_ts_ms, limit=config.sequences.impressions
    )


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
    serving_reads = None if serving is None else serving.reading
    wants = log.wants()
    people = People.of(
        log.user_idx, log.item_idx, log.action_key, log.ts_ms, log.worth, log.n_users
    )
    vectors = np.asarray(np.load(folder / "vectors.npy", mmap_mode="r"))
    space = serving.space if serving is not None else Space.of(vectors, settings.item_dim)
    recipe = Recipe.load(folder / "recipe.json").pinned(config.recipe.pins)
    popularity = Popularity(wants.ts_ms, wants.item_idx, wants.n_items, HALF_LIVES_DAYS, None)
    windows = choose_windows(wants.ts_ms, settings, newest_only=newest_only)
    shown = partial(_shown, store, config)
    reading = choose_reading(
        config, store, log.user_idx, log.ts_ms, action_names, go_on=serving if newest_only else None
    )
    parts: list[Examples] = []
    tables: list[FloatMatrix] = []
    for number, window in enumerate(windows):
        past, found = _past(
            store, config, wants, popularity, recipe, folder, window.since_ts_ms, number, cache
        )
        tables.append(space.table(found))
        questions = ask(
            people, window.since_ts_ms, window.until_ts_ms, window.requests, rng, past.known
        )
        sample = partial(
            sample_examples, people, past, questions, heads,
            negatives=ALL_CANDIDATES if window.held else settings.negatives,
            rng=rng,
            exclude_seen=config.feed.repeat == "exclude",
            shown=shown,
            progress=partial(_within, progress, number / len(windows), 1 / len(windows)),
        )  # fmt: skip
        parts.append(sample(reading=reading.over(tables[-1])))
    held_since = windows[-1].since_ts_ms
    late = as_serving_reads = parts[-1]
    if serving_reads is not None and serving_reads != reading:
        as_serving_reads = sample(reading=serving_reads.over(tables[-1]))  # all candidates again
    tables.append(space.table(vectors))
    served = served_examples(
        store.scored_requests(until_ts_ms=held_since, limit=settings.max_requests),
        heads,
        reading=reading.over(tables[-1]),
        until_ts_ms=held_since,
        space=len(tables) - 1,
    )
    stops = late.user_idx % 2 == 0
    decides = np.flatnonzero(~stops)
    fit = _answered(Examples.joined([*parts[:-1], served]), heads)
    material = Material(
        fit, late.take(np.flatnonzero(stops)), late.take(decides),
        ItemInputs(tables, _known(wants, tables[0], held_since), len(action_names)),
        space, heads, action_names, reading, log.until, as_serving_reads.take(decides),
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
    past, vectors = _past(store, config, wants, popularity, recipe, folder, cut, 0, cache)
    table = Space.of(vectors, config.ranking.item_dim).table(vectors)
    reading = choose_reading(config, store, log.user_idx, log.ts_ms, names).over(table)
    rng = np.random.default_rng(config.ranking.seed)
    questions = ask(people, cut, end, LEAK_QUESTIONS, rng, past.known)
    shown = partial(_shown, store, config)
    return find_leaks(people, wants, past, questions, heads, reading=reading, shown=shown)


def _within(progress: Callable[[float], None], begin: float, part: float, share: float) -> None:
    progress(begin + part * share)


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
    tables = SignalTables(count_tables(before), found, popularity, None, Births(born))
    known = np.bincount(before.item_idx, minlength=before.n_items) > 0
    return Past(tables, ItemState(found, born, popularity), recipe, space, known), found


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

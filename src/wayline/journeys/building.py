"""The journeys of a generation: made by a build, or anew on the generation in use; read when it is served."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wayline.config import EmbeddingsConfig, JourneysConfig
from wayline.embeddings.text import text_vectors
from wayline.journeys.everybody import PersonLog, Task, find_everybodys_journeys
from wayline.journeys.finder import FinderRules
from wayline.journeys.keywords import Keywords, find_keywords
from wayline.journeys.learning import Answers, learn_ranker, learn_teller
from wayline.journeys.people import LogRows
from wayline.journeys.ranking import JourneyRanker
from wayline.journeys.related import related_journeys
from wayline.journeys.stages import StageRules
from wayline.journeys.table import JourneyTable
from wayline.schema import BoolVector, FloatMatrix, IntVector
from wayline.storage.disk import write_frame

JOURNEYS = "journeys.parquet"
FOLDER = "keywords"
SETTINGS = "journeys.json"
LEARNED, PRIOR = "learned", "prior"  # of `journeys.ranker`
ENCODER_DIM = 384

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class MadeJourneys:
    """What a build writes: keywords, everybody's journeys, what orders them and tells of them, and how it went."""

    keywords: Keywords
    frame: pl.DataFrame
    ranker: JourneyRanker
    teller: JourneyRanker
    related: Mapping[str, list[str]]
    report: dict[str, Any]
    until_ts_ms: int

    def save(self, folder: Path) -> None:
        """Write it into a generation."""
        self.keywords.save(folder / FOLDER)
        write_frame(self.frame, folder / JOURNEYS)
        said = {
            "until": self.until_ts_ms,
            "ranker": self.ranker.to_dict(),
            "teller": self.teller.to_dict(),
            "related": self.related,
            "report": self.report,
        }
        (folder / SETTINGS).write_text(
            json.dumps(said, ensure_ascii=False, indent=1) + "\n", "utf-8"
        )


def rules_of(config: JourneysConfig) -> FinderRules:
    """Give the rules that the settings say."""
    return FinderRules(
        cut=config.cut, largest=config.largest, half_life_days=config.half_life_days,
        min_history=config.min_history, min_actions=config.min_actions, min_items=config.min_items,
        stages=StageRules(
            config.patience_days, config.rhythm, config.evergreen_months, config.evergreen_gap_days,
            config.evergreen_span_days, config.longest_days,
        ),
    )  # fmt: skip


def make_keywords(
    texts: pl.DataFrame,
    vectors: FloatMatrix,
    usable: BoolVector,
    log: LogRows,
    embeddings: EmbeddingsConfig,
    cache: Path,
    blocked: Callable[[str], bool] | None = None,
    before: Keywords | None = None,
) -> Keywords:
    """Find the keywords of a catalogue; their text vectors are kept in ``cache`` for the next build.

    Those of ``before``, the last build, stay where they can.
    """

    def encode(words: list[str]) -> FloatMatrix:
        return text_vectors(
            words,
            dim=ENCODER_DIM,
            model_folder=embeddings.text_model,
            cache_path=cache / "keyword_vectors.npz",
        ).vectors

    return find_keywords(
        texts, vectors, usable, encode, said=log.said(), blocked=blocked, before=before
    )


def make_journeys(
    keywords: Keywords,
    texts: pl.DataFrame,
    log: LogRows,
    config: JourneysConfig,
    *,
    now_ts_ms: int,
    user_ids: Callable[[IntVector], list[str]],
    before: JourneyTable,
    answers: Answers | None,
    unfinished: Path,
    stamp: str,
    progress: Progress,
    only: IntVector | None = None,
    most: int | None = None,
    ranker: JourneyRanker | None = None,
    teller: JourneyRanker | None = None,
    blocked: Callable[[str], bool] | None = None,
    workers: int = 0,
) -> MadeJourneys:
    """Find and rank the journeys of everybody, or of some while the others keep what they have.

    Parameters
    ----------
    texts : DataFrame
        ``title`` and ``item_id``, a row an item.
    before : JourneyTable
        Of the generation in use: ids and names continue it.
    answers : Answers, optional
        What came of notifications.
    unfinished, stamp
        See :func:`find_everybodys_journeys`.
    only : int64 array, optional
        Keys of the people to find journeys of.
    most : int, optional
        Newest actions of a person that are read.
    ranker : JourneyRanker, optional
        Orders a person's journeys; what ``journeys.ranker`` says if not given.
    teller : JourneyRanker, optional
        Orders what people are told; the same.
    blocked : callable, optional
        Says of a title that it must not be said to anybody.
    """
    began = time.perf_counter()
    task = Task(
        keywords, rules_of(config), ranker or JourneyRanker(), texts["title"].to_list(), texts["item_id"].to_list(),
        now_ts_ms, blocked,
    )  # fmt: skip
    people = log.people(user_ids=user_ids, before=before.of, only=only, most=most)
    if config.ranker == PRIOR:
        ranker = JourneyRanker(report={"decided": PRIOR, "why": f'journeys.ranker = "{PRIOR}"'})
        teller = ranker
    elif ranker is None:
        ranker = learn_ranker(log, people, task)
    if teller is None:
        teller = learn_teller(answers) if config.ranker == LEARNED else ranker
    if ranker is not task.ranker:
        task = replace(task, ranker=ranker)
    learned_s = time.perf_counter() - began
    began = time.perf_counter()
    frame = find_everybodys_journeys(
        people, task, unfinished=unfinished, stamp=_stamp(stamp, task, people), workers=workers,
        progress=lambda done, total: progress(_said(done, total, time.perf_counter() - began), done / max(total, 1)),
    )  # fmt: skip
    spent_s = time.perf_counter() - began
    found = frame.height
    if only is not None:
        kept = before.frame.filter(~pl.col("user_key").is_in(only.tolist()))
        known = pl.Series(user_ids(kept["user_key"].to_numpy()), dtype=pl.String) != ""
        kept = kept.filter(known)  # a forgotten person is in no generation
        frame = pl.concat([kept, frame]).sort("user_key", maintain_order=True)
    report = {
        "people": len(people),
        "people_with_journeys": int(frame["user_key"].n_unique()),
        "journeys": frame.height,
        "found_now": found,
        "keywords": len(keywords),
        "people_per_s": round(len(people) / max(spent_s, 1e-9), 1),
        "seconds_learning": round(learned_s, 2),
        "seconds": round(spent_s, 2),
        "ranker": dict(ranker.report),
        "teller": dict(teller.report),
        "notes": list(keywords.notes),
    }
    return MadeJourneys(keywords, frame, ranker, teller, related_journeys(frame), report, now_ts_ms)


def _stamp(given: str, task: Task, people: Sequence[PersonLog]) -> str:
    """Say what a run depends on: its chunks are only good for one of the same people, words, weights and titles."""
    digest = hashlib.sha256(given.encode())
    digest.update(np.array([person.user_key for person in people], np.int64).tobytes())
    digest.update(np.ascontiguousarray(task.keywords.item_places).tobytes())
    said = (
        task.keywords.texts,
        task.titles,
        task.item_ids,
        task.rules,
        sorted(task.ranker.weights.items()),
    )
    digest.update(repr(said).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _said(done: int, total: int, seconds: float) -> str:
    speed = f", {done / seconds:.0f} people/s" if done and seconds > 0.5 else ""
    return f"find journeys ({done:,} of {total:,} people{speed})"


@dataclass(frozen=True, slots=True)
class ServedJourneys:
    """What a served generation reads of its journeys."""

    keywords: Keywords
    table: JourneyTable
    ranker: JourneyRanker
    teller: JourneyRanker
    related: Mapping[str, list[str]]
    until_ts_ms: int

    @classmethod
    def open(cls, folder: Path) -> ServedJourneys | None:
        """Read what a build wrote; None where it wrote none."""
        if not (folder / JOURNEYS).exists() or not (folder / FOLDER).is_dir():
            return None
        said = json.loads((folder / SETTINGS).read_text("utf-8"))
        return cls(
            Keywords.load(folder / FOLDER), JourneyTable.read(folder / JOURNEYS),
            JourneyRanker.from_dict(said["ranker"]), JourneyRanker.from_dict(said.get("teller", said["ranker"])),
            said["related"], int(said["until"]),
        )  # fmt: skip

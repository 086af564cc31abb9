"""Runs on disk: a finished run is never repeated, so a table can be broken off and gone on with."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .logs import RESULTS
from .requests import TEST, Sizes, Task
from .training import Arm, Outcome, Training


class Asked(NamedTuple):
    """The test part of a set, as the report needs it."""

    user_idx: np.ndarray  # [R]
    history: np.ndarray  # [R]
    label: np.ndarray  # [R, C, H]
    vector: np.ndarray  # [R, C, D]
    weights: np.ndarray  # [H]
    heads: np.ndarray  # [H] str


def key_of(arm: Arm, training: Training, sizes: Sizes) -> str:
    """Changes with everything that an outcome depends on, but for the code."""
    return hashlib.sha256(repr((arm, training, sizes)).encode()).hexdigest()[:16]


def path_of(name: str, arm: Arm, training: Training, sizes: Sizes, seed: int) -> Path:
    """Where a run is kept."""
    return RESULTS / "runs" / name / f"{key_of(arm, training, sizes)}-{seed}.npz"


def keep(path: Path, outcome: Outcome) -> None:
    """Write a run at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        probability=outcome.probability.astype(np.float32),
        validation=np.array(outcome.validation),
        seconds=outcome.seconds,
    )
    part.replace(path)


def keep_task(name: str, task: Task, sizes: Sizes) -> None:
    """Write what the report asks of a set."""
    rows = task.rows(TEST)
    moment = np.broadcast_to(task.ts_ms[rows][:, None], task.candidate[rows].shape)
    RESULTS.mkdir(parents=True, exist_ok=True)
    np.savez(
        _task_path(name, sizes),
        user_idx=task.user_idx[rows],
        history=task.history[rows],
        label=task.label[rows],
        vector=task.log.vector(task.candidate[rows], moment),
        weights=np.array(task.weights),
        heads=np.array(task.heads),
    )


def read_task(name: str, sizes: Sizes) -> Asked | None:
    """What :func:`keep_task` wrote, or None."""
    path = _task_path(name, sizes)
    if not path.exists():
        return None
    with np.load(path) as found:
        return Asked(*(found[field] for field in Asked._fields))


def _task_path(name: str, sizes: Sizes) -> Path:
    return RESULTS / f"{name}-{hashlib.sha256(repr(sizes).encode()).hexdigest()[:8]}-test.npz"

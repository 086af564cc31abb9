"""One process's share of the work: a set, its missing runs, one after another."""

from __future__ import annotations

import ctypes
import hashlib
import os
import pickle
import sys
import time
from pathlib import Path

from .arms import entries
from .logs import RESULTS
from .requests import Sizes, Task
from .runs import keep, keep_task, path_of
from .sets import SETS
from .training import Training

SOURCES = ("logs", "requests", "sets", "simulated")


def keep_memory() -> None:
    """Let glibc keep freed memory: a training step frees and takes the same hundred megabytes again and again.

    Without it a third of the time goes into page faults.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def run_set(name: str, seeds: list[int], training: Training, sizes: Sizes, only: list[str]) -> None:
    """Run what is missing of a set, seed by seed, in this process."""
    keep_memory()
    import torch

    from .training import Reader, train

    torch.set_num_threads(1)
    arms = {entry.arm.name: entry.arm for entry in entries(name)}
    wanted = [arm for arm in arms.values() if not only or any(part in arm.name for part in only)]
    todo = [
        (seed, arm)
        for seed in seeds
        for arm in wanted
        if not path_of(name, arm, training, sizes, seed).exists()
    ]
    if not todo:
        return
    began = time.perf_counter()
    task = open_task(name, sizes)
    keep_task(name, task, sizes)
    print(
        f"{name}: {len(task.ts_ms):,} requests after {time.perf_counter() - began:.0f} s, {len(todo)} runs",
        flush=True,
    )
    parent = os.getppid()
    for seed, arm in todo:
        if os.getppid() != parent:  # broken off: a pool's processes outlive a killed parent
            return
        outcome = train(task, arm, training, seed=seed, reader=Reader(task, arm))
        keep(path_of(name, arm, training, sizes, seed), outcome)
        history = " ".join(f"{value:.4f}" for value in outcome.validation)
        print(
            f"{name} seed {seed} {arm.name}: validation {history}, {outcome.seconds:.0f} s",
            flush=True,
        )


def open_task(name: str, sizes: Sizes) -> Task:
    """The requests of a set, from an earlier run where nothing they are made by has changed."""
    here = Path(__file__).parent
    made_by = b"".join((here / f"{source}.py").read_bytes() for source in SOURCES)
    key = hashlib.sha256(made_by + repr((name, sizes)).encode()).hexdigest()[:16]
    path = RESULTS / "tasks" / f"{name}-{key}.pickle"
    if path.exists():
        with path.open("rb") as file:
            task: Task = pickle.load(file)
        return task
    task = SETS[name](sizes)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        pickle.dump(task, file)
    part.replace(path)
    return task

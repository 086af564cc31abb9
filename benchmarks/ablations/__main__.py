"""Reproduce the published ablations: ``python -m benchmarks.ablations [--quick] [--sets …] [--seeds 3] [--report]``.

Every arm of a set is trained on the same requests by the same code; the test part is read once per arm and seed.
Runs are kept in ``results/ablations`` and never repeated: broken off, it goes on where it was. ``--report`` only
prints what is there. Writes ``results/ablations.json`` and ``results/ablations.md``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from multiprocessing import get_context
from pathlib import Path

from .logs import RESULTS
from .report import markdown, report
from .sets import SETS, present, sizes_of
from .training import Training
from .work import run_set

QUICK_SETS = ("simulated", "online-retail")  # the texts of the others take minutes to embed


def main(argv: list[str] | None = None) -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="*", choices=list(SETS), help="all that are here")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--arms", nargs="*", default=[], help="only those whose name holds one of these"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--quick", action="store_true", help="small, one seed, one epoch: does it run?"
    )
    parser.add_argument("--report", action="store_true", help="only print what has been run")
    parser.add_argument(
        "--fresh", action="store_true", help="forget earlier runs: the code has changed"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    options.sets = options.sets or [n for n in present() if not options.quick or n in QUICK_SETS]
    training = Training(epochs=1) if options.quick else Training()
    seeds = 1 if options.quick else options.seeds
    sizes = {name: sizes_of(name, quick=options.quick) for name in options.sets}
    if options.fresh and not options.report:
        for name in options.sets:
            shutil.rmtree(RESULTS / "runs" / name, ignore_errors=True)
    if not options.report:
        with get_context("spawn").Pool(options.processes) as pool:
            # seed by seed over all sets, so that what is broken off has whole tables of fewer seeds
            for seed in range(seeds):
                pool.starmap(
                    run_set,
                    [(n, [seed], training, sizes[n], options.arms) for n in options.sets],
                    chunksize=1,
                )
    found = report(options.sets, training, sizes, seeds)
    text = markdown(found)
    RESULTS.parent.mkdir(exist_ok=True)
    if not options.quick:
        Path(RESULTS.parent / "ablations.json").write_text(
            json.dumps(found, indent=1) + "\n", "utf-8"
        )
        Path(RESULTS.parent / "ablations.md").write_text(text + "\n", "utf-8")
    print(json.dumps(found) if options.json else text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The sets, and how much of each is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from wayline.clock import DAY_MS, HOUR_MS

from .logs import DATA, open_log
from .requests import Rules, Sizes, Task, sample
from .simulated import simulated_task

QUICK = Sizes(train=320, validation=80, test=160)


def online_retail(sizes: Sizes) -> Task:
    """A gift shop: what is bought, what comes back within two weeks; items new to the person."""
    log = open_log("online-retail", ("buy", "return"), ("buy",), 0.5)
    rules = Rules((1.0, -1.0), (6 * HOUR_MS, 14 * DAY_MS), wanted=(1,), rare=(2,))
    return sample(log, rules, sizes)


def deskdrop(sizes: Sizes) -> Task:
    """A company's news: what is read within three hours, and liked or kept; items new to the person."""
    actions = ("view", "like", "bookmark", "comment created", "follow")
    log = open_log("deskdrop", actions, actions, 0.4)
    return sample(log, Rules((1.0,) * 5, (3 * HOUR_MS,) * 5, wanted=(1,), first=0.4), sizes)


def slackbuilds(sizes: Sizes) -> Task:
    """Package maintainers over fifteen years: what is changed within a day, by people who come back to their own."""
    actions = ("update", "fix", "add", "metadata", "other")
    log = open_log("slackbuilds", actions, actions, 0.5)
    weights = (1.0, 1.0, 1.0, 0.5, 0.5)
    return sample(log, Rules(weights, (DAY_MS,) * 5, wanted=(1, 2, 3, 4, 5), repeats=True), sizes)


def simulated(sizes: Sizes) -> Task:
    """People with living interests, real impressions and refusals."""
    return simulated_task(sizes, people=250 if sizes.train > 1000 else 40)


SETS: dict[str, Callable[[Sizes], Task]] = {
    "simulated": simulated,
    "slackbuilds": slackbuilds,
    "online-retail": online_retail,
    "deskdrop": deskdrop,
}


def present() -> list[str]:
    """The sets whose files are here."""
    return [name for name in SETS if name == "simulated" or (DATA / name).is_dir()]


def sizes_of(name: str, *, quick: bool) -> Sizes:
    """How much of a set is asked: long histories are few people's, so more of each."""
    if quick:
        return QUICK
    return replace(Sizes(), per_user=60) if name == "slackbuilds" else Sizes()

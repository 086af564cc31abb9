"""The arms: what each reads, what it is held against, and what the papers found."""

from __future__ import annotations

from dataclasses import dataclass

from .sequences import Newest, Selected
from .training import Arm

FIRST_TEN = {"first_k": 10}


@dataclass(frozen=True)
class Entry:
    """A row of a table: ``arm`` against ``against``, and the direction that was published."""

    arm: Arm
    against: str
    published: str
    sets: tuple[str, ...] = ("simulated", "online-retail", "deskdrop")


def v2(name: str, reads: Selected, nal: str | None = None, weight: float = 0.01) -> Arm:
    """An arm of TransAct V2."""
    return Arm(name, encoder="transact_v2", reads=reads, nal=nal, nal_weight=weight)


NEGATIVE = ("simulated", "online-retail")  # sets with an action that nobody wants
LONG = ("slackbuilds", "simulated", "deskdrop", "online-retail")
SELECTION = Selected(nearest=16, recent=16)

SEQUENCE = [
    Entry(Arm("no sequence", encoder="none"), "no sequence", "the base of Table 1"),
    Entry(
        Arm("average pooling", encoder="average"),
        "no sequence",
        "repin +0.21 %, hide -1.61 % (V1 Table 1)",
    ),
    Entry(
        Arm("BST", encoder="bst"),
        "no sequence",
        "repin +4.41 %, hide +2.33 %, worse (V1 Table 1)",
    ),
    Entry(
        Arm("BST, positives only", encoder="bst", without_negatives=True),
        "no sequence",
        "repin +7.34 %, hide n.s. (V1 Table 1)",
        NEGATIVE,
    ),
    Entry(Arm("DIN", encoder="din"), "no sequence", "not published"),
    Entry(Arm("two towers", encoder="two_tower"), "no sequence", "not published"),
    Entry(Arm("TransAct"), "no sequence", "repin +9.40 %, hide -14.86 % (V1 Table 1)"),
]

INSIDE = [
    Entry(
        Arm("append the candidate", sequence={"fusion": "append"}),
        "TransAct",
        "below concat at every length (V1 Fig. 4)",
    ),
    Entry(
        Arm("no early fusion", sequence={"fusion": "none"}),
        "TransAct",
        "below: fusion is most of the gain (V1 blog)",
    ),
    Entry(
        Arm("no action types", sequence={"use_actions": False}),
        "TransAct",
        "below (V1 Table 3: vectors alone +1.56 % of +9.40 %)",
    ),
    Entry(
        Arm("no negatives in the sequence", without_negatives=True),
        "TransAct",
        "hide worse (V1 §3.3; BST on positives n.s.)",
        NEGATIVE,
    ),
    Entry(
        Arm("sinusoidal positions", sequence={"positions": True}),
        "TransAct",
        "repin flat, hide worse by .78 to 2.29 % (V1 Table 10)",
    ),
    Entry(
        Arm("time window 0 to 24 h", sequence={"window_ms": 86_400_000}),
        "TransAct",
        "repin unchanged, more diverse (V1 §4.4)",
    ),
    Entry(
        Arm("first row", sequence={"first_k": 1, "max_pool": False}),
        "TransAct",
        "repin -1.5 %, hide +4.2 % (V1 Table 4)",
    ),
    Entry(
        Arm("ten rows at random", sequence={"max_pool": False}, custom="random_k"),
        "TransAct",
        "repin -1.8 %, hide +3.2 % (V1 Table 4)",
    ),
    Entry(
        Arm("first ten rows", sequence={"max_pool": False}),
        "TransAct",
        "level: -0.03 %, hide +0.6 % (V1 Table 4)",
    ),
    Entry(
        Arm("max pool", sequence={"first_k": 0}),
        "TransAct",
        "repin -2.8 %, hide +0.8 % (V1 Table 4)",
    ),
]

LIFELONG = [
    Entry(
        v2("V2, newest 16", Selected(nearest=0, recent=16)),
        "no sequence",
        "real-time only: repin +7.74 % (V2 Table 2)",
        LONG,
    ),
    Entry(
        v2("V2, selection", SELECTION),
        "V2, newest 16",
        "lifelong: about +4 % repin (V2 Table 2)",
        LONG,
    ),
    Entry(
        v2("V2, newest 32", Selected(nearest=0, recent=32)),
        "V2, selection",
        "below selection (claimed, no figure)",
        LONG,
    ),
    Entry(
        v2("V2, 16 at random", Selected(nearest=0, random=16, recent=16)),
        "V2, selection",
        "not published",
        LONG,
    ),
    Entry(
        Arm("DIN, newest 32", encoder="din", reads=Newest(32)),
        "V2, selection",
        "not published",
        ("slackbuilds",),
    ),
    Entry(
        Arm("DIN, selection", encoder="din", reads=SELECTION),
        "V2, selection",
        "not published",
        LONG,
    ),
]

IMPRESSIONS = Selected(nearest=12, recent=16, impression=4)
SIMULATED = ("simulated",)
NEXT_ACTION = [
    Entry(
        v2("V2, 4 of 32 tokens are impressions", IMPRESSIONS),
        "V2, selection",
        "part of V2, no ablation",
        SIMULATED,
    ),
    Entry(
        v2("NAL in-batch, .01", SELECTION, "batch"),
        "V2, selection",
        "+0.63 % repin, hide -1.90 % (V2 NAL table)",
        ("simulated", "slackbuilds", "deskdrop"),
    ),
    *(
        Entry(
            v2(f"NAL impressions, {weight:g}", SELECTION, "impression", weight),
            "V2, selection",
            published,
            SIMULATED,
        )
        for weight, published in (
            (1e-4, "+0.58 % repin, hide -2.09 % (V2 NAL table)"),
            (1e-3, "+0.86 % repin, hide -2.6 % (V2 NAL table)"),
            (1e-2, "+1.10 % repin, hide -2.39 %, the best (V2 NAL table)"),
            (1e-1, "+0.54 % repin, hide -2.39 % (V2 NAL table)"),
        )
    ),
]

LENGTHS = (100, 1_000, 4_000)  # beside the whole, which is "V2, selection"
BY_LENGTH = [
    Entry(
        v2(f"V2, selection of {length:,}", Selected(nearest=16, recent=16, lifelong=length)),
        "V2, selection",
        "not published by length",
        ("slackbuilds",),
    )
    for length in LENGTHS
]

TABLES = {
    "What reads the sequence": SEQUENCE,
    "Inside TransAct": INSIDE,
    "A lifelong history": LIFELONG,
    "The next-action loss": NEXT_ACTION,
    "How much history is searched": BY_LENGTH,
}


def entries(name: str) -> list[Entry]:
    """All rows that a set appears in, what they are held against first."""
    found = [entry for table in TABLES.values() for entry in table if name in entry.sets]
    needed = {entry.against for entry in found} - {entry.arm.name for entry in found}
    known = {e.arm.name: e for table in TABLES.values() for e in table}
    return [known[name] for name in sorted(needed)] + found

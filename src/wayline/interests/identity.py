"""Stable ids: an interest stays itself across rebuilds; rewards, mutes and names hang on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from hashlib import blake2b

MIN_OVERLAP = 0.5  # chosen, not published: below half of the smaller side it is another interest


def match_ids(
    user_id: str,
    old: Sequence[tuple[str, Collection[Hashable]]],
    new: Sequence[tuple[Hashable, Collection[Hashable]]],
) -> list[str]:
    """Give each new interest the id of the old one that it continues, or an id of its own.

    Pairs are taken greedily, the most alike (Jaccard index of their members) first, each side at
    most once; a pair needs ``MIN_OVERLAP`` of the smaller side in common. So when an interest
    splits, the larger part keeps the id, and when two merge, the larger gives its id. Ties go to
    the earlier old, then the earlier new interest: hand both over in a fixed order (by importance).
    The same input gives the same ids on every machine.

    Parameters
    ----------
    user_id : str
        Whose interests they are; part of a fresh id.
    old : sequence of (id, members)
        The interests so far, with ids.
    new : sequence of (medoid, members)
        The interests now. Members and medoids are item ids.

    Returns
    -------
    list of str
        One id a new interest, unique within the person; an id that ``old`` has but no new interest
        continues is not given to another.

    Examples
    --------
    >>> match_ids("u", [("abc", {"tea", "cup"})], [("cup", {"tea", "cup", "pot"})])
    ['abc']
    """
    holders: dict[Hashable, list[int]] = {}
    for o, (_, members) in enumerate(old):
        for member in set(members):
            holders.setdefault(member, []).append(o)
    pairs = []
    for n, (_, members) in enumerate(new):
        own = set(members)
        shared = Counter(o for member in own for o in holders.get(member, ()))
        for o, both in shared.items():
            theirs = len(set(old[o][1]))
            if both >= MIN_OVERLAP * min(theirs, len(own)):
                pairs.append((-both / (theirs + len(own) - both), o, n))
    ids: list[str | None] = [None] * len(new)
    continued: set[int] = set()
    for _, o, n in sorted(pairs):
        if ids[n] is None and o not in continued:
            ids[n] = old[o][0]
            continued.add(o)
    taken = {interest_id for interest_id, _ in old}
    named = []
    for n, interest_id in enumerate(ids):
        final = interest_id if interest_id is not None else fresh_id(user_id, new[n][0], taken)
        taken.add(final)
        named.append(final)
    return named


def fresh_id(user_id: str, medoid: Hashable, taken: Collection[str]) -> str:
    """Eight hex digits from user and medoid, and a counter where they are taken."""
    attempt = 0
    while True:
        text = f"{user_id}\x1f{medoid}\x1f{attempt}"
        fresh = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
        if fresh not in taken:
            return fresh
        attempt += 1

"""The hash tags of our keys. A hash tag is the part of a key in braces; it selects the node of a Redis Cluster."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot


def hash_tags(first: str, number: int) -> list[str]:
    """`number` tags, `first` among them at 0, each in another one of `number` equal ranges of the slots.

    A cluster of as many masters with equal ranges thus has one tag on each. All but `first` lie in the middle half of
    their range, because ranges are seldom exactly equal.
    """
    tags = {key_slot(first.encode()) * number // SLOTS: first}
    suffixes = count(1)
    while len(tags) < number:
        tag = f"{first[:-1]}.{next(suffixes)}}}"  # no REDIS_KEY_PREFIX has a dot, so no other service has this tag
        place, offset = divmod(key_slot(tag.encode()) * number, SLOTS)
        if SLOTS <= 4 * offset < 3 * SLOTS:
            tags.setdefault(place, tag)
    return list(tags.values())


def dealt(tags: Sequence[str]) -> Sequence[str]:
    """The tags, each as often as its share of the spread keys. The first one has other keys too, so it gets less."""
    first, *others = tags
    return [first] * 3 + others * 4

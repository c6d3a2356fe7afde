"""Assign samples to shards by the hash of their ids, so that an added sample changes one shard only.

Each shard holds the samples whose hashes begin with the same bits. A shard that would exceed the limits is divided by
the next bit, regardless of all others. The shards are a function of the set of samples, not of its order or history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_HASH_BITS = 256


@dataclass(frozen=True)
class ShardLimits:
    """Limits of one shard: samples, and bytes (None for no limit). A single larger sample is a shard of its own."""

    samples: int
    size_bytes: int | None = None


@dataclass(frozen=True)
class Shard:
    """Positions of samples, ascending. ``name`` is a zero and the first bits of their hashes."""

    name: str
    positions: tuple[int, ...]


def assign_shards(ids: Sequence[str], sizes: Sequence[int], limits: ShardLimits) -> list[Shard]:
    """Return the shards of samples with these unique ids and sizes in bytes, sorted by name; none is empty."""
    hashes = [_hash_bits(sample_id) for sample_id in ids]
    return list(_divide("", range(len(ids)), hashes, sizes, limits))


def _divide(
    prefix: str, positions: Sequence[int], hashes: Sequence[str], sizes: Sequence[int], limits: ShardLimits
) -> Iterator[Shard]:
    total = sum(sizes[position] for position in positions)
    is_small = len(positions) <= limits.samples and (limits.size_bytes is None or total <= limits.size_bytes)
    if len(positions) == 1 or (positions and is_small):
        yield Shard(f"0{prefix}", tuple(positions))
    elif positions:
        for bit in "01":
            part = [position for position in positions if hashes[position][len(prefix)] == bit]
            yield from _divide(prefix + bit, part, hashes, sizes, limits)


def _hash_bits(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return f"{int.from_bytes(digest, 'big'):0{_HASH_BITS}b}"

"""Splits that leak nothing: samples of one group stay together, on every run and every machine."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest import cap_problems, shorten
from tasks.frames.manifest import Sample

_FORM = "names with shares that add up to 1, such as train=0.9,val=0.1"
# What Hugging Face datasets accepts as the name of a split; it keeps "all" for every split together.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,39}")
_NAMES = "names of letters, digits and _, at most 40 characters, and not 'all'"
_TOLERANCE = Fraction(1, 10**6)  # so that 0.333,0.333,0.334 and 0.3333333,... pass
_HASH_BITS = 64


@dataclass(frozen=True)
class Split:
    """A named part of the dataset and its share of the groups, 0 < share <= 1."""

    name: str
    share: Fraction


DEFAULT_SPLIT = "train"  # what Hugging Face datasets calls the only split of a dataset
COLUMN = "split"


def parse_splits(text: str | None, option: str = "--splits") -> tuple[tuple[Split, ...], list[Problem]]:
    """Read ``train=0.9,val=0.1``; nothing given is no splits."""
    if text is None or not text.strip():
        return (), []
    found = [_parse_one(part.strip(), option) for part in text.split(",")]
    splits = tuple(split for split in found if isinstance(split, Split))
    problems = [problem for problem in found if isinstance(problem, Problem)]
    problems += _twice(splits, option)
    total = sum((split.share for split in splits), Fraction(0))
    if not problems and abs(total - 1) > _TOLERANCE:
        problems.append(Problem(option, f"shares that add up to {float(total):g}", _FORM, "correct the shares"))
    return splits, problems


def assign(
    samples: Iterable[Sample], splits: Sequence[Split], group_by: str | None = None
) -> tuple[dict[str, str], list[Problem]]:
    """The split of each sample, by id. Samples with the same video, or the same ``group_by`` value, share one.

    A group's split follows from its value alone (SHA-256), so other samples never move it; shares are met the better
    the more groups there are. The order in which the splits are given does not matter. A sample whose ``group_by``
    column is missing or empty is a problem: it could leak.

    Without ``splits`` the manifest's own column ``split`` decides, and without that all samples are ``train``.
    """
    known = list(samples)
    has_own = any(COLUMN in sample.fields for sample in known)
    if not splits:
        return _own_splits(known) if has_own else ({sample.id: DEFAULT_SPLIT for sample in known}, [])
    problems = [_two_sources()] if has_own else []
    if known and group_by is not None and not any(_group(sample, group_by) for sample in known):
        return {}, [*problems, _no_column(known, group_by)]
    chosen, ungrouped = _by_group(known, sorted(splits, key=lambda split: split.name), group_by)
    return chosen, cap_problems([*problems, *ungrouped])


def _by_group(
    samples: Sequence[Sample], ordered: Sequence[Split], group_by: str | None
) -> tuple[dict[str, str], list[Problem]]:
    chosen: dict[str, str] = {}
    problems: list[Problem] = []
    for sample in samples:
        group = sample.video if group_by is None else _group(sample, group_by)
        if group is None:
            problems.append(_no_group(sample, group_by))
        else:
            chosen[sample.id] = _split_of(group, ordered)
    return chosen, problems


def _own_splits(samples: Sequence[Sample]) -> tuple[dict[str, str], list[Problem]]:
    """What the manifest's own column says, as it stands: nobody's group is kept together but by who wrote it."""
    chosen: dict[str, str] = {}
    problems: list[Problem] = []
    for sample in samples:
        name = sample.fields.get(COLUMN)
        if isinstance(name, str) and _is_name(name):
            chosen[sample.id] = name
        else:
            problems.append(Problem(f"{sample.where or sample.title}, {COLUMN}", shorten(name), _NAMES, "correct it"))
    return chosen, [*_differ_in_case(chosen.values(), f"the column {COLUMN}"), *cap_problems(problems)]


def _two_sources() -> Problem:
    given = f"given, while the manifest has a column {COLUMN!r}"
    return Problem("--splits", given, "one of the two", "leave --splits out, or rename the column")


def _parse_one(part: str, option: str) -> Split | Problem:
    name, equals, share_text = (piece.strip() for piece in part.partition("="))
    if not equals:
        return Problem(option, shorten(part), _FORM, "give each split a share")
    if not _is_name(name):
        return Problem(option, f"the name {shorten(name)}", _NAMES, "rename the split")
    try:
        share = Decimal(share_text)
    except InvalidOperation:
        share = Decimal("NaN")
    if not share.is_finite() or not 0 < share <= 1:
        return Problem(option, f"{name}={share_text}", "a share above 0, at most 1", "correct the share")
    return Split(name, Fraction(share))


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name != "all"


def _twice(splits: Sequence[Split], option: str) -> list[Problem]:
    names = [split.name for split in splits]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems = [Problem(option, f"{name!r} more than once", "each split once", "remove one") for name in twice]
    return [*problems, *_differ_in_case(names, option)]


def _differ_in_case(names: Iterable[str], where: str) -> list[Problem]:
    """Return a problem for names that some file systems take for one: splits are files and folders."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(name.lower(), []).append(name)
    return [
        Problem(where, f"{' and '.join(map(repr, alike))}, which differ in case alone", "distinct names", "rename one")
        for alike in groups.values()
        if len(alike) > 1
    ]


def _group(sample: Sample, column: str) -> str | None:
    """The sample's group as text, the same whether the manifest is CSV (all text) or has types."""
    if column == "id":
        return sample.title
    if column in {"video", "video_path"}:
        return sample.video
    value: Any = sample.fields.get(column)
    if value in (None, ""):
        return None
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _no_column(samples: Sequence[Sample], group_by: str) -> Problem:
    columns = dict.fromkeys(["id", "video_path", *(name for sample in samples for name in sample.fields)])
    return Problem("--group-by", f"no column {group_by!r}", ", ".join(columns), "name one of these")


def _no_group(sample: Sample, column: str | None) -> Problem:
    allowed = "a value in every row, so that no group is parted"
    return Problem(f"{sample.where or sample.title}, {column}", "nothing", allowed, "fill it in, or change --group-by")


def _split_of(group: str, ordered: Sequence[Split]) -> str:
    """The split in whose stretch of [0, 1) the group's hash falls; the last takes what rounding leaves."""
    digest = hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()
    point = Fraction(int.from_bytes(digest[: _HASH_BITS // 8], "big"), 1 << _HASH_BITS)
    end = Fraction(0)
    for split in ordered:
        end += split.share
        if point < end:
            return split.name
    return ordered[-1].name

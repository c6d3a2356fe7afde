"""Leak-free splits: samples of one group stay in one split, in every run and on every machine."""

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
# Split names that Hugging Face datasets accepts; it reserves "all" for every split together.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,39}")
_NAMES = "names of letters, digits and _, at most 40 characters, and not 'all'"
_TOLERANCE = Fraction(1, 10**6)  # accepts rounded shares such as 0.333,0.333,0.334
_HASH_BITS = 64


@dataclass(frozen=True)
class Split:
    """A named part of the dataset and its share of the groups (0 < share <= 1)."""

    name: str
    share: Fraction


DEFAULT_SPLIT = "train"  # name of the only split in Hugging Face datasets
COLUMN = "split"


def parse_splits(text: str | None, option: str = "--splits") -> tuple[tuple[Split, ...], list[Problem]]:
    """Parse ``train=0.9,val=0.1``; None or empty text gives no splits."""
    if text is None or not text.strip():
        return (), []
    parts = [_parse_split(part.strip(), option) for part in text.split(",")]
    splits = tuple(part for part in parts if isinstance(part, Split))
    problems = [part for part in parts if isinstance(part, Problem)]
    problems += _find_duplicates(splits, option)
    total = sum((split.share for split in splits), Fraction(0))
    if not problems and abs(total - 1) > _TOLERANCE:
        problems.append(Problem(option, f"shares that add up to {float(total):g}", _FORM, "correct the shares"))
    return splits, problems


def assign_splits(
    samples: Iterable[Sample], splits: Sequence[Split], group_by: str | None = None
) -> tuple[dict[str, str], list[Problem]]:
    """Return the split of each sample by id. Samples with the same video (or ``group_by`` value) share a split.

    A group's split depends on the hash of its value alone (SHA-256), so other samples never move it. The more groups
    there are, the closer the splits come to their shares. The order of ``splits`` does not matter. A missing or empty
    ``group_by`` value is a problem, because the sample could leak.

    Without ``splits``, the manifest's column ``split`` decides; without that column, all samples are ``train``.
    """
    all_samples = list(samples)
    has_split_column = any(COLUMN in sample.fields for sample in all_samples)
    problems = [_describe_two_sources()] if splits and has_split_column else []
    if all_samples and group_by is not None and not any(_get_group(sample, group_by) for sample in all_samples):
        return {}, [*problems, _describe_missing_column(all_samples, group_by)]
    if not splits:
        return (
            _read_split_column(all_samples)
            if has_split_column
            else ({sample.id: DEFAULT_SPLIT for sample in all_samples}, [])
        )
    chosen, ungrouped = _assign_by_group(all_samples, sorted(splits, key=lambda split: split.name), group_by)
    return chosen, cap_problems([*problems, *ungrouped])


def _assign_by_group(
    samples: Sequence[Sample], ordered: Sequence[Split], group_by: str | None
) -> tuple[dict[str, str], list[Problem]]:
    chosen: dict[str, str] = {}
    problems: list[Problem] = []
    for sample in samples:
        group = sample.video if group_by is None else _get_group(sample, group_by)
        if group is None:
            problems.append(_describe_missing_group(sample, group_by))
        else:
            chosen[sample.id] = _choose_split(group, ordered)
    return chosen, problems


def _read_split_column(samples: Sequence[Sample]) -> tuple[dict[str, str], list[Problem]]:
    """Return the splits in the manifest's column, unchanged: its author is responsible for keeping groups together."""
    chosen: dict[str, str] = {}
    problems: list[Problem] = []
    for sample in samples:
        name = sample.fields.get(COLUMN)
        if isinstance(name, str) and _is_name(name):
            chosen[sample.id] = name
        else:
            problems.append(Problem(f"{sample.where or sample.title}, {COLUMN}", shorten(name), _NAMES, "correct it"))
    return chosen, [*_find_case_conflicts(chosen.values(), f"the column {COLUMN}"), *cap_problems(problems)]


def _describe_two_sources() -> Problem:
    given = f"given, while the manifest has a column {COLUMN!r}"
    return Problem("--splits", given, "one of the two", "remove --splits, or rename the column")


def _parse_split(part: str, option: str) -> Split | Problem:
    name, equals, share_text = (piece.strip() for piece in part.partition("="))
    if not equals:
        return Problem(option, shorten(part), _FORM, "add a share to each split")
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


def _find_duplicates(splits: Sequence[Split], option: str) -> list[Problem]:
    names = [split.name for split in splits]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    problems = [Problem(option, f"{name!r} more than once", "each split once", "remove one") for name in duplicates]
    return [*problems, *_find_case_conflicts(names, option)]


def _find_case_conflicts(names: Iterable[str], where: str) -> list[Problem]:
    """Return a problem for names that differ only in case: splits are files, and some file systems ignore case."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(name.lower(), []).append(name)
    return [
        Problem(
            where, f"{' and '.join(map(repr, conflicting))}, which differ only in case", "distinct names", "rename one"
        )
        for conflicting in groups.values()
        if len(conflicting) > 1
    ]


def _get_group(sample: Sample, column: str) -> str | None:
    """Return the sample's group as text, the same for CSV (all text) and typed manifests."""
    if column == "id":
        return sample.title
    if column in {"video", "video_path"}:
        return sample.video
    value: Any = sample.fields.get(column)
    if value in (None, ""):
        return None
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _describe_missing_column(samples: Sequence[Sample], group_by: str) -> Problem:
    columns = dict.fromkeys(["id", "video_path", *(name for sample in samples for name in sample.fields)])
    return Problem("--group-by", f"no column {group_by!r}", ", ".join(columns), "use one of these")


def _describe_missing_group(sample: Sample, column: str | None) -> Problem:
    allowed = "a value in every row, so that every group stays together"
    return Problem(f"{sample.where or sample.title}, {column}", "empty", allowed, "fill it in, or change --group-by")


def _choose_split(group: str, ordered: Sequence[Split]) -> str:
    """Return the split whose interval of [0, 1) contains the group's hash; rounding errors fall to the last one."""
    digest = hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()
    point = Fraction(int.from_bytes(digest[: _HASH_BITS // 8], "big"), 1 << _HASH_BITS)
    end = Fraction(0)
    for split in ordered:
        end += split.share
        if point < end:
            return split.name
    return ordered[-1].name

"""Leak-free splits: samples of one group stay in one split, in every run and on every machine."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
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


BY_FOLDER = "folder"  # value of --splits: the first folder of a video's path is its split
DEFAULT_SPLIT = "train"  # name of the only split in Hugging Face datasets
COLUMN = "split"


CONTENT = "content"  # value of --group-by: near-duplicate videos


@dataclass(frozen=True)
class SplitPlan:
    """The split of each sample. Groups of near-duplicate videos are known after the frames are extracted.

    split_of  split of each sample by id, without groups of near-duplicates
    shares    shares of the splits, if near-duplicates stay together; empty otherwise
    """

    split_of: Mapping[str, str]
    shares: tuple[Split, ...] = ()

    def assign(self, samples: Iterable[Sample], representatives: Mapping[str, str]) -> Mapping[str, str]:
        """Return the split of each sample. ``representatives``: the video whose split a near-duplicate shares."""
        if not self.shares:
            return self.split_of
        ordered = sorted(self.shares, key=lambda split: split.name)
        return {
            sample.id: _choose_split(representatives.get(sample.video, sample.video), ordered) for sample in samples
        }


def plan_splits(samples: Sequence[Sample], splits: str | None, group_by: str | None) -> tuple[SplitPlan, list[Problem]]:
    """Return the split of each sample as ``--splits`` and ``--group-by`` say, and the problems."""
    if splits is not None and splits.strip() == BY_FOLDER:
        split_of, problems = read_folder_splits(samples, group_by)
        return SplitPlan(split_of), problems
    shares, problems = parse_splits(splits)
    if group_by != CONTENT:
        split_of, more = assign_splits(samples, shares, group_by)
        return SplitPlan(split_of), [*problems, *more]
    split_of, more = assign_splits(samples, shares)
    if any(CONTENT in sample.fields for sample in samples):
        allowed = "near-duplicate videos, or the column"
        more.append(Problem("--group-by content", "also names a column", allowed, "rename the column"))
    if not shares and not problems:
        more.append(Problem("--group-by content", "given without shares", "with --splits train=0.9,val=0.1", "add it"))
    return SplitPlan(split_of, shares), [*problems, *more]


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


def read_folder_splits(samples: Iterable[Sample], group_by: str | None = None) -> tuple[dict[str, str], list[Problem]]:
    """Return the first folder of each video's path as the split of its samples, by id."""
    all_samples = list(samples)
    problems = [_describe_two_sources()] if any(COLUMN in sample.fields for sample in all_samples) else []
    if group_by is not None:
        given = "given, while folders decide about the splits"
        problems.append(Problem("--group-by", given, "one of the two", "remove it, or give shares by --splits"))
    folders = {sample.id: sample.video.partition("/")[0] if "/" in sample.video else "" for sample in all_samples}
    chosen = {sample_id: name for sample_id, name in folders.items() if _is_name(name)}
    wrong = [_describe_folder(sample) for sample in all_samples if sample.id not in chosen]
    conflicts = _find_case_conflicts(chosen.values(), "--splits folder")
    return chosen, [*problems, *conflicts, *cap_problems(wrong)]


def _describe_folder(sample: Sample) -> Problem:
    allowed = f"SPLIT/VIDEO; splits are {_NAMES}"
    return Problem(sample.where or sample.title, shorten(sample.video), allowed, "move it, or give shares by --splits")


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

"""Find the items of an output folder by id, name, path or the id of a sample in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from tasks.engine import maintenance
from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.store.layout import Layout

_MAX_NAMED = 5
_COLUMNS = ("id", "name", "path", "stage", "outcome")


@dataclass(frozen=True)
class Label:
    """An item in ``items.parquet`` of the last run; the path is relative to the input folder."""

    name: str
    path: str
    stage: str = ""
    outcome: str = ""

    def describe_state(self) -> str:
        """Return the state of the item if it has neither a record nor a failure."""
        if self.outcome == "remaining":
            return "remaining  the last run did not reach it"
        return "forgotten  the next run processes it again"


@dataclass(frozen=True)
class Catalog:
    """The items that can be named.

    entries  records and failures
    labels   items of the last run by id; none if no run has finished
    samples  ids of items by the id of a sample, for items that consist of samples
    """

    entries: Sequence[maintenance.Entry]
    labels: Mapping[str, Label] = field(default_factory=dict)
    samples: Mapping[str, set[str]] = field(default_factory=dict)

    @property
    def ids(self) -> set[str]:
        """The ids of all items."""
        return {entry.id for entry in self.entries} | self.labels.keys()


def read_catalog(layout: Layout) -> Catalog:
    """Read the items of an output folder."""
    entries = list(maintenance.read_entries(layout))
    return Catalog(entries, _read_labels(layout), _index_samples(entries))


def _read_labels(layout: Layout) -> dict[str, Label]:
    try:
        rows = maintenance.read_items_table(layout, _COLUMNS)
    except (OSError, ValueError):
        return {}
    return {row["id"]: Label(row["name"] or row["id"], row["path"] or "", row["stage"], row["outcome"]) for row in rows}


def _index_samples(entries: Iterable[maintenance.Entry]) -> dict[str, set[str]]:
    """Return the items by their samples. Records may be forged, so that their details may have any form."""
    found: dict[str, set[str]] = {}
    for entry in entries:
        samples = entry.record.detail.get("samples") if entry.record else None
        for sample in samples if isinstance(samples, list) else ():
            if isinstance(sample, dict) and isinstance(sample.get("id"), str):
                found.setdefault(sample["id"], set()).add(entry.id)
    return found


def find_ids(words: Iterable[str], catalog: Catalog) -> list[str]:
    """Return the ids of the items that ``words`` name by id, name, path or sample.

    Raises InvalidInput for each word that names no item, or several items.
    """
    found: dict[str, None] = {}
    problems: list[Problem] = []
    ids = catalog.ids
    for word in words:
        matches = [word] if word in ids else sorted(_find_matches(word, catalog))
        if len(matches) == 1:
            found[matches[0]] = None
        else:
            problems.append(_describe_unclear(word, matches, bool(catalog.samples)))
    if problems:
        raise InvalidInput(problems)
    return list(found)


def _find_matches(word: str, catalog: Catalog) -> set[str]:
    """Return the ids of the items with this name, path or sample. A path may start anywhere above the input folder."""
    labels = catalog.labels.items() if word else ()
    by_name = {item_id for item_id, label in labels if word in (label.name, label.path)}
    by_path = {item_id for item_id, label in labels if label.path and _ends_with(word, label.path)}
    return by_name or by_path or catalog.samples.get(word, set())


def _ends_with(path: str, end: str) -> bool:
    parts, last = PurePath(os.path.abspath(path)).parts, PurePath(end).parts  # noqa: PTH100 - keeps symlinks
    return parts[-len(last) :] == last


def _describe_unclear(word: str, matches: Sequence[str], has_samples: bool) -> Problem:
    if not matches:
        advice = "see headrace items list"
        if has_samples:
            advice += "; if it is a sample of a failed video, give the name of the video"
        return Problem(word, "no such item", "the id, name or path of an item, or the id of a sample", advice)
    named = ", ".join(matches[:_MAX_NAMED]) + (", ..." if len(matches) > _MAX_NAMED else "")
    return Problem(word, f"{len(matches)} items: {named}", "one item", "give its id")

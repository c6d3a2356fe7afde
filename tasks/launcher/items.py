"""``headrace items``: the items of an output folder, named by their ids, names or paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from cyclopts import App

from tasks.engine import __main__ as engine
from tasks.engine import maintenance
from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.text import showable
from tasks.engine.store.layout import Layout

_MAX_NAMED = 5

app = App(name="items", help="List, show, verify and forget the items of an output folder.", version_flags=[])
app.command(engine.verify, name="verify")
app.command(engine.sweep, name="sweep")
app.command(engine.prune, name="prune")


@dataclass(frozen=True)
class Label:
    """The name and the path of an item in ``items.parquet``; the path is relative to the input folder."""

    name: str
    path: str


@app.command(name="list")
def list_items(output_dir: Path, *items: str) -> int:
    """List items that are done or have failed, with their names.

    Args:
        output_dir: The --output-dir of a run
        items: Ids, names or paths of items (default: all)
    """
    layout = maintenance.open_layout(output_dir)
    labels = read_labels(layout)
    entries = list(maintenance.read_entries(layout))
    wanted = set(find_ids(items, {entry.id for entry in entries}, labels)) if items else None
    for entry in entries:
        if wanted is None or entry.id in wanted:
            label = labels.get(entry.id)
            name = f"  ({label.name})" if label and label.name != entry.id else ""
            print(showable(f"{entry.line()}{name}"))
    return 0


@app.command
def show(output_dir: Path, *items: str) -> int:
    """Show the state, the outputs and all attempts of items.

    Args:
        output_dir: The --output-dir of a run
        items: Ids, names or paths of items
    """
    for item_id in _find(output_dir, items):
        engine.show(output_dir, item_id)
    return 0


@app.command
def forget(output_dir: Path, *items: str, outputs: bool = False, yes: bool = False) -> int:
    """Forget items, so that the next run processes them again.

    Args:
        output_dir: The --output-dir of a run
        items: Ids, names or paths of items
        outputs: Also remove their outputs
        yes: Apply the changes (default: only print them)
    """
    return engine.forget(output_dir, *_find(output_dir, items), outputs=outputs, yes=yes)


def _find(output_dir: Path, items: Sequence[str]) -> list[str]:
    if not items:
        raise InvalidInput([Problem("ITEM", "missing", "an id, a name or a path", "see headrace items list")])
    layout = maintenance.open_layout(output_dir)
    return find_ids(items, {entry.id for entry in maintenance.read_entries(layout)}, read_labels(layout))


def read_labels(layout: Layout) -> dict[str, Label]:
    """Return the labels of the last run's items by id; none if no run has finished."""
    try:
        rows = maintenance.read_items_table(layout, ("id", "name", "path"))
    except (OSError, ValueError):
        return {}
    return {row["id"]: Label(row["name"] or row["id"], row["path"] or "") for row in rows}


def find_ids(words: Iterable[str], ids: set[str], labels: Mapping[str, Label]) -> list[str]:
    """Return the ids of the items that ``words`` name by id, name or path.

    Raises InvalidInput for each word that names no item, or several items.
    """
    found: dict[str, None] = {}
    problems: list[Problem] = []
    for word in words:
        matches = [word] if word in ids else sorted(_matches(word, ids, labels))
        if len(matches) == 1:
            found[matches[0]] = None
        else:
            problems.append(_unclear(word, matches))
    if problems:
        raise InvalidInput(problems)
    return list(found)


def _matches(word: str, ids: set[str], labels: Mapping[str, Label]) -> set[str]:
    """Return the ids of the items that have this name or path. A path may start anywhere above the input folder."""
    known = {item_id: label for item_id, label in labels.items() if item_id in ids and word}
    by_name = {item_id for item_id, label in known.items() if word in (label.name, label.path)}
    return by_name or {item_id for item_id, label in known.items() if label.path and _ends_with(word, label.path)}


def _ends_with(path: str, end: str) -> bool:
    parts, last = PurePath(os.path.abspath(path)).parts, PurePath(end).parts  # noqa: PTH100 - keeps symlinks
    return parts[-len(last) :] == last


def _unclear(word: str, matches: Sequence[str]) -> Problem:
    if not matches:
        return Problem(word, "no such item", "the id, name or path of an item", "see headrace items list")
    named = ", ".join(matches[:_MAX_NAMED]) + (", ..." if len(matches) > _MAX_NAMED else "")
    return Problem(word, f"{len(matches)} items: {named}", "one item", "give its id")

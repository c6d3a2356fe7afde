"""``headrace items``: inspect and repair an output folder. Items are named by their ids, names, paths or samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App

from tasks.engine import maintenance
from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.text import count_noun
from tasks.engine.store.outcomes import Try
from tasks.launcher.item_search import Catalog, find_ids, read_catalog
from tasks.launcher.terminal import print_line, print_output

_EXIT_BROKEN = 3  # as a run says "finished, with failed items"

app = App(name="items", help="List, show, verify and forget the items of an output folder.", version_flags=[])


@app.command(name="list")
def list_items(output_dir: Path, *items: str) -> int:
    """List items that are done or have failed, with their names.

    Args:
        output_dir: Output folder of a run
        items: Ids, names or paths of items, or ids of samples (default: all items)
    """
    catalog = read_catalog(maintenance.open_layout(output_dir))
    wanted = find_ids(items, catalog) if items else sorted({entry.id for entry in catalog.entries})
    named = _name_samples(items, catalog)
    for entry in catalog.entries:
        if entry.id in set(wanted):
            print_output(entry.line() + _format_name(entry.id, catalog) + named.get(entry.id, ""))
    _print_missing(wanted, catalog)
    return 0


def _name_samples(items: Sequence[str], catalog: Catalog) -> dict[str, str]:
    """Return the part of an item's line that names the given samples in it."""
    names: dict[str, list[str]] = {}
    for word in dict.fromkeys(items):
        if word not in catalog.ids and word in catalog.samples:
            for item_id in find_ids([word], catalog):
                names.setdefault(item_id, []).append(word)
    return {item_id: f"  sample {', '.join(words)}" for item_id, words in names.items()}


def _format_name(item_id: str, catalog: Catalog) -> str:
    label = catalog.labels.get(item_id)
    return f"  ({label.name})" if label and label.name != item_id else ""


def _print_missing(item_ids: Sequence[str], catalog: Catalog) -> None:
    """Print a line for each item of the last run that has neither a record nor a failure."""
    recorded = {entry.id for entry in catalog.entries}
    for item_id in item_ids:
        if item_id not in recorded:
            label = catalog.labels[item_id]
            print_output(f"{label.stage}  {item_id}  {label.describe_state()}{_format_name(item_id, catalog)}")


@app.command
def show(output_dir: Path, *items: str) -> int:
    """Show the state, the outputs and all attempts of items.

    Args:
        output_dir: Output folder of a run
        items: Ids, names or paths of items, or ids of samples
    """
    catalog = read_catalog(maintenance.open_layout(output_dir))
    wanted = _find_named(items, catalog)
    for item_id in wanted:
        for entry in catalog.entries:
            if entry.id == item_id:
                _show_entry(entry, output_dir)
    _print_missing(wanted, catalog)
    return 0


def _show_entry(entry: maintenance.Entry, output_dir: Path) -> None:
    print_output(entry.line())
    for output in entry.record.outputs if entry.record else ():
        print_output(f"  {output.path}  {output.size_bytes} bytes  sha256 {output.sha256}")
    for attempt in _list_attempts(entry):
        print_output(f"  {attempt.line()}")
    if entry.failure and entry.failure.log:
        print_output(f"  log: {output_dir / entry.failure.log}")


def _list_attempts(entry: maintenance.Entry) -> list[Try]:
    source = entry.failure or entry.record
    assert source is not None
    return [*source.history, source.to_attempt()]


@app.command
def verify(output_dir: Path) -> int:
    """Compare every output with the digest in its record; exit code 3 if one does not match.

    Args:
        output_dir: Output folder of a run
    """
    states: Counter[str] = Counter()
    for output in maintenance.find_broken_outputs(maintenance.open_layout(output_dir)):
        print_output(output.line())
        states[output.state] += 1
    print_output(_describe_broken(states["missing"], states["altered"]))
    return _EXIT_BROKEN if states else 0


def _describe_broken(missing: int, altered: int) -> str:
    """Return the line that ends ``verify``. Each run notices missing outputs, but not those altered in place."""
    if not missing + altered:
        return "all outputs match their records"
    counts = [f"{count_noun(count, 'output')} {state}" for count, state in _counted(missing, altered)]
    run = "the next run with --verify digest" if altered else "the next run"
    return f"{', '.join(counts)}; {run} writes {'it' if missing + altered == 1 else 'them'} again"


def _counted(missing: int, altered: int) -> list[tuple[int, str]]:
    return [(count, state) for count, state in ((missing, "missing"), (altered, "altered")) if count]


@app.command
def forget(output_dir: Path, *items: str, outputs: bool = False, yes: bool = False) -> int:
    """Forget items, so that the next run processes them again.

    Args:
        output_dir: Output folder of a run
        items: Ids, names or paths of items, or ids of samples
        outputs: Also remove their outputs
        yes: Apply the changes (default: only print them)
    """
    layout = maintenance.open_layout(output_dir)
    catalog = read_catalog(layout)
    item_ids = _find_named(items, catalog)
    missing = sorted(set(item_ids) - {entry.id for entry in catalog.entries})
    if missing:
        allowed, advice = "an item that is done or has failed", "the next run processes it anyway"
        raise InvalidInput([Problem(item_id, "no record of it", allowed, advice) for item_id in missing])
    return _apply_or_print(output_dir, maintenance.plan_forget(layout, item_ids, outputs), yes)


@app.command
def sweep(output_dir: Path, *, yes: bool = False) -> int:
    """Remove leftovers of dead runs: private folders, partial files, logs of done items.

    Args:
        output_dir: Output folder of a run
        yes: Apply the changes (default: only print them)
    """
    return _apply_or_print(output_dir, maintenance.plan_sweep(maintenance.open_layout(output_dir)), yes)


@app.command
def prune(output_dir: Path, *, yes: bool = False) -> int:
    """Remove the results of items that are not in the last run's manifest.

    Args:
        output_dir: Output folder of a run
        yes: Apply the changes (default: only print them)
    """
    return _apply_or_print(output_dir, maintenance.plan_prune(maintenance.open_layout(output_dir)), yes)


@app.command
def merge(output_dir: Path) -> int:
    """Merge the parts of runs with --part: their items into one folder, their summaries into one.

    Nothing in the parts is changed. Files are linked if the filesystem can, otherwise copied.

    Args:
        output_dir: Output folder of the runs, which has the folders of all parts
    """
    from tasks.engine.merging import merge_parts

    merged = merge_parts(output_dir, print_line)
    for line in merged.unfinished:
        print_output(line)
    counts = merged.counts
    print_output(f"{count_noun(counts.added, 'item')} merged, {counts.present} merged before")
    if counts.incomplete:
        print_output(f"{count_noun(counts.incomplete, 'item')} left out: an output or the record is damaged or missing")
    print_output(f"{merged.summary.flow}: {merged.summary.message}")
    print_output(f"summary: {output_dir / 'summary.json'}")
    print_output(
        "give the command of the parts without --part to write tables and the report, and to run what is missing"
    )
    return 0


def _find_named(items: Sequence[str], catalog: Catalog) -> list[str]:
    if not items:
        raise InvalidInput([Problem("ITEM", "missing", "an id, a name or a path", "see headrace items list")])
    return find_ids(items, catalog)


def _apply_or_print(output_dir: Path, actions: list[maintenance.Action], yes: bool) -> int:
    for action in actions:
        print_output(action.words if yes else f"would {action.words}")
    if not actions:
        print_output("nothing to do")
    elif yes:
        maintenance.apply(maintenance.open_layout(output_dir), actions, print_line)
    else:
        print_output("nothing was changed; --yes applies the changes")
    return 0

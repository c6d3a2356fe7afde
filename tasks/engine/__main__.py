"""Inspect and repair an output folder: ``python -m tasks.engine --help``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from cyclopts import App

from tasks.engine import maintenance
from tasks.engine.contract.errors import HeadraceError
from tasks.engine.contract.parquet import end_process
from tasks.engine.contract.text import count_noun, showable
from tasks.engine.store.outcomes import Try

_FOUND = 3  # as a run says "finished, with failed items"
app = App(
    name="python -m tasks.engine",
    help="Look at what runs have left in an output folder, and repair it.",
    version_flags=[],
)


@app.command(name="list")
def list_items(output_dir: Path) -> int:
    """List every item that is done or has failed.

    Args:
        output_dir: The --output-dir of a run
    """
    for entry in maintenance.read_entries(maintenance.open_layout(output_dir)):
        _say(entry.line())
    return 0


@app.command
def show(output_dir: Path, item_id: str) -> int:
    """Show one item: its state, outputs, and every try of it.

    Args:
        output_dir: The --output-dir of a run
        item_id: The item
    """
    for entry in maintenance.find(maintenance.open_layout(output_dir), [item_id]):
        _say(entry.line())
        for output in entry.record.outputs if entry.record else ():
            _say(f"  {output.path}  {output.size_bytes} bytes  sha256 {output.sha256}")
        for each in _count_tries(entry):
            _say(f"  {each.line()}")
        if entry.failure and entry.failure.log:
            _say(f"  log: {output_dir / entry.failure.log}")
    return 0


def _count_tries(entry: maintenance.Entry) -> list[Try]:
    source = entry.failure or entry.record
    assert source is not None
    return [*source.history, source.to_attempt()]


@app.command
def verify(output_dir: Path) -> int:
    """Compare every output with the digest in its record; exit code 3 if one does not match.

    Args:
        output_dir: The --output-dir of a run
    """
    broken = 0
    for line in maintenance.find_broken_outputs(maintenance.open_layout(output_dir)):
        _say(line)
        broken += 1
    _say(
        f"{count_noun(broken, 'output')} missing or altered; the next run with --verify digest writes them again"
        if broken
        else "all outputs match their records"
    )
    return _FOUND if broken else 0


@app.command
def forget(output_dir: Path, *item_ids: str, outputs: bool = False, yes: bool = False) -> int:
    """Forget items, so that the next run processes them again.

    Args:
        output_dir: The --output-dir of a run
        item_ids: The items
        outputs: Also remove their outputs
        yes: Apply the changes (default: only print them)
    """
    layout = maintenance.open_layout(output_dir)
    return _apply_or_print(layout.output_dir, maintenance.plan_forget(layout, item_ids, outputs), yes)


@app.command
def sweep(output_dir: Path, *, yes: bool = False) -> int:
    """Remove leftovers of dead runs: private folders, partial files, logs of done items.

    Args:
        output_dir: The --output-dir of a run
        yes: Apply the changes (default: only print them)
    """
    layout = maintenance.open_layout(output_dir)
    return _apply_or_print(layout.output_dir, maintenance.plan_sweep(layout), yes)


@app.command
def prune(output_dir: Path, *, yes: bool = False) -> int:
    """Remove the results of items that are not in the last run's manifest.

    Args:
        output_dir: The --output-dir of a run
        yes: Apply the changes (default: only print them)
    """
    layout = maintenance.open_layout(output_dir)
    return _apply_or_print(layout.output_dir, maintenance.plan_prune(layout), yes)


def _apply_or_print(output_dir: Path, actions: list[maintenance.Action], yes: bool) -> int:
    for action in actions:
        _say(action.words if yes else f"would {action.words}")
    if not actions:
        _say("nothing to do")
    elif yes:
        maintenance.apply(maintenance.open_layout(output_dir), actions, lambda line: _say(line, sys.stderr))
    else:
        _say("nothing was done; --yes does it")
    return 0


def _say(line: str, stream: TextIO | None = None) -> None:
    """Print one line, escaped: records may contain control characters for the terminal."""
    print(showable(line), file=stream)


def main() -> int:
    """Run the command; print one line per error and return 2."""
    try:
        return int(app(result_action="return_value"))
    except HeadraceError as error:
        for line in str(error).splitlines():
            _say(f"error: {line}", sys.stderr)
        return 2
    except BrokenPipeError:  # as `... | head` makes it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    end_process(main())

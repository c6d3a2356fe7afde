"""The folders of parts: each run with ``--part K/N`` has an output folder of its own in that of all parts.

So parts share no lock, no records and no private folder, and run on machines that do not know of each other.
"""

from __future__ import annotations

from pathlib import Path

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.part import Part, find_part
from tasks.engine.store.layout import Layout


def find_parts(output_dir: Path) -> list[Part]:
    """Return the parts that have a folder in ``output_dir``, in order."""
    tree = Layout(output_dir).tree
    names = tree.names() if output_dir.is_dir() else []
    parts = [part for name in names if (part := find_part(name)) and tree.is_folder(name)]
    return sorted(parts, key=lambda part: (part.count, part.number))


def choose_layout(layout: Layout, part: Part | None) -> Layout:
    """Return the layout of the folder into which a run of ``part`` writes, see :func:`choose_folder`.

    Raises RunError for a part of a run into a store, where parts cannot be merged.
    """
    if not layout.store:
        return Layout(choose_folder(layout.output_dir, part))
    if part:
        advice = "give an --output-dir on this machine or on a shared filesystem, or leave --part out"
        raise RunError(f"--part {part} needs a folder, and {layout.store} is in a store; {advice}")
    return layout


def choose_folder(output_dir: Path, part: Part | None) -> Path:
    """Return the folder into which a run of ``part`` writes; ``output_dir`` itself if it runs all items.

    Raises RunError if the run would repeat items: those of parts that are not merged, of another number of parts, or
    of runs without ``--part``.
    """
    if part is None:
        _check_merged(output_dir)
        return output_dir
    for other in find_parts(output_dir):
        if other.count != part.count:
            advice = f"give --part K/{other.count}, or another --output-dir"
            raise RunError(f"{output_dir} has parts of {other.count}, and --part {part} was given; {advice}")
    folder = output_dir / part.folder
    if Layout(output_dir).state_folder.is_dir() and not folder.is_dir():
        advice = "leave --part out, or give another --output-dir"
        raise RunError(f"{output_dir} has results of runs without --part, which part {part} would repeat; {advice}")
    return folder


def _check_merged(output_dir: Path) -> None:
    for part in find_parts(output_dir):
        layout = Layout(output_dir / part.folder)
        runs = list_runs(layout)
        if runs - list_runs(Layout(output_dir)) or (not runs and layout.state_folder.is_dir()):
            advice = f"give headrace items merge {output_dir}, or remove the folder"
            raise RunError(f"{layout.output_dir} has results that are not in {output_dir} yet; {advice}")


def list_runs(layout: Layout) -> set[str]:
    """Return the file names of the runs that have ended in an output folder."""
    return {name for name in layout.tree.names(layout.relative(layout.runs)) if name.endswith(".json")}

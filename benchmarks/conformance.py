"""Frames of many kinds of video, compared with a full decode: ``python benchmarks/conformance.py``.

Makes about a hundred small videos (codecs, containers, GOP structures, wrong flags, damage, truncation), adds those of
other folders, and requests a few frames of each from each reader: the stage of dataset_prep, OpenCV, decord,
torchcodec, PyAV with plain seeks. Prints a Markdown table. The readers of other projects are installed in a separate
environment, which needs a package index; ``--peers none`` leaves out those that are not installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cyclopts

from benchmarks.machine import describe_machine
from benchmarks.video_conformance.compare import Reader, Verdict
from benchmarks.video_conformance.corpus import Video, list_names, make_video
from benchmarks.video_conformance.peers import get_library_variables, make_peers
from benchmarks.video_conformance.readers import READERS
from benchmarks.video_conformance.reference import Reference, read_reference


def main(
    *,
    videos: tuple[Path, ...] = (),
    only: tuple[str, ...] = (),
    output_dir: Path = Path("build/benchmarks/conformance"),
    peers: Literal["install", "none"] = "install",
    frames: int = 12,
) -> None:
    """Compare and print a table.

    Args:
        videos: Folders with additional videos
        only: Names of files of the corpus; all by default
        output_dir: Folder for the corpus, the other readers' environment and results.json
        peers: Install the other readers' environment, or leave them out
        frames: Frames per video
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    readers = list(_create_readers(output_dir, peers))
    results: dict[str, dict[str, Verdict]] = {}
    _print_head(readers)
    try:
        for video in _list_videos(output_dir / "corpus", videos, only):
            reference = read_reference(video.intact, frames)
            results[video.path.name] = {reader.name: reader.judge(video.path, reference) for reader in readers}
            _print_row(video, reference, results[video.path.name])
    finally:
        for reader in readers:
            reader.close()
    _print_totals(readers, results)
    figures = {name: {reader: asdict(verdict) for reader, verdict in row.items()} for name, row in results.items()}
    (output_dir / "results.json").write_text(json.dumps(figures, indent=1))


def _list_videos(folder: Path, others: Sequence[Path], only: Sequence[str]) -> Iterator[Video]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in only or list_names():
        yield make_video(name, folder)
    for other in others:
        for path in sorted(other.iterdir()):
            yield Video(path, path, f"from {other.name}/")


def _create_readers(folder: Path, peers: str) -> Iterator[Reader]:
    """Yield the available readers; print the names of the others to standard error."""
    own, other, variables = Path(sys.executable), None, {}
    if peers == "install":
        other, variables = make_peers(folder / "peers"), dict(get_library_variables(folder / "libraries"))
    for name, (module, _) in READERS.items():
        if importlib.util.find_spec(module):
            yield Reader(name, own, {})
        elif other and _can_import(other, module, variables):
            yield Reader(name, other, variables)
        else:
            print(f"not measured: {name} (cannot import {module})", file=sys.stderr)


def _can_import(python: Path, module: str, variables: Mapping[str, str]) -> bool:
    command = [python, "-c", f"import {module}"]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, check=False).returncode == 0


def _print_head(readers: Sequence[Reader]) -> None:
    print(f"{describe_machine()}\n")
    print("| file | kind | frames | " + " | ".join(reader.name for reader in readers) + " |")
    print("| --- | --- | ---: |" + " --- |" * len(readers))


def _print_row(video: Video, reference: Reference, verdicts: dict[str, Verdict]) -> None:
    total = f"{len(reference.thumbs)}"
    if not reference.agrees_with_ffmpeg:
        total += ", ffmpeg differs"
    cells = " | ".join(verdict.text for verdict in verdicts.values())
    print(f"| `{video.path.name}` | {video.about} | {total} | {cells} |", flush=True)
    for name, verdict in verdicts.items():
        if verdict.error:
            print(f"{video.path.name}: {name}: {verdict.error}", file=sys.stderr, flush=True)


def _print_totals(readers: Sequence[Reader], results: dict[str, dict[str, Verdict]]) -> None:
    print(f"\n| of {len(results)} files | " + " | ".join(reader.name for reader in readers) + " |")
    print("| --- |" + " ---: |" * len(readers))
    columns = [[row[reader.name] for row in results.values()] for reader in readers]
    rows = {
        "wrong frames in": [sum(verdict.wrong > 0 for verdict in column) for column in columns],
        "rejected": [sum(bool(verdict.error) for verdict in column) for column in columns],
        "some frames refused, none wrong": [sum(v.refused > 0 and not v.wrong for v in column) for column in columns],
        "exact": [sum(v.exact > 0 and not v.wrong and not v.refused for v in column) for column in columns],
    }
    for about, counts in rows.items():
        print(f"| {about} | " + " | ".join(map(str, counts)) + " |")


if __name__ == "__main__":
    cyclopts.run(main)

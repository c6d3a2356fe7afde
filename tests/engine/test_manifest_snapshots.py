"""Compare all messages about hostile and invalid manifests with a reviewed snapshot.

The manifests are those of tests/hostile with equal messages on every machine: Parquet files are read by another
process, messages about damaged JSON depend on the Python version, and long paths are shortened. After an intended
change, ``python -m tests.engine.test_manifest_snapshots`` rewrites the snapshot: review its diff.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tasks.frames.manifest import read_samples
from tests.hostile.corpus import Targets
from tests.hostile.manifests import write_manifests, write_video_folder

SNAPSHOT = Path(__file__).resolve().parents[1] / "data" / "manifest-problems.json"
SEED = 20260101
FAMILIES = ("paths", "ids", "values", "CSV")
MAX_LINES = 5
MAX_CHARACTERS = 400


def collect_problems(folder: Path) -> dict[str, list[str]]:
    """Return the first problems of each manifest and their number, or samples of its rows."""
    outside, messages = folder / "outside", {}
    outside.mkdir()
    (outside / "canary.txt").write_text("canary")
    write_video_folder(folder / "listed", outside, b"video")
    for case in write_manifests(folder / "manifests", Targets(outside / "canary.txt", 1), SEED):
        if case.family in FAMILIES and "outside" not in (folder / "manifests" / case.name).read_text("latin-1"):
            samples, problems = read_samples(folder / "manifests" / case.name, folder / "listed")
            lines = [str(problem).replace(str(folder), "FOLDER")[:MAX_CHARACTERS] for problem in problems[:MAX_LINES]]
            messages[case.name] = [f"{len(samples)} samples, {len(problems)} problems", *lines]
    return messages


def test_messages_about_invalid_manifests_match_the_snapshot(tmp_path: Path) -> None:
    expected = json.loads(SNAPSHOT.read_bytes())
    messages = collect_problems(tmp_path)
    assert messages.keys() == expected.keys()
    for name, lines in messages.items():
        assert lines == expected[name], name


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        text = json.dumps(collect_problems(Path(temporary)), indent=1, ensure_ascii=False)
    SNAPSHOT.write_text(text + "\n", encoding="utf-8")

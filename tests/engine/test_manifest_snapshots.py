"""What is said of hostile and wrong manifests is that of a reviewed snapshot: every line, word by word.

The manifests are those of tests/hostile that say the same on every machine: Parquet ones are read by a process of its
own, damaged JSON has the words of the Python version, and long paths are shortened. After a change
that is meant, ``python -m tests.engine.test_manifest_snapshots`` writes the snapshot anew: look at what changed in it.
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


def problems_of_all(folder: Path) -> dict[str, list[str]]:
    """The first problems of each manifest, and how many there are; samples of those that are read."""
    outside, said = folder / "outside", {}
    outside.mkdir()
    (outside / "canary.txt").write_text("canary")
    write_video_folder(folder / "listed", outside, b"video")
    for case in write_manifests(folder / "manifests", Targets(outside / "canary.txt", 1), SEED):
        if case.family in FAMILIES and "outside" not in (folder / "manifests" / case.name).read_text("latin-1"):
            samples, problems = read_samples(folder / "manifests" / case.name, folder / "listed")
            lines = [str(problem).replace(str(folder), "FOLDER")[:MAX_CHARACTERS] for problem in problems[:MAX_LINES]]
            said[case.name] = [f"{len(samples)} samples, {len(problems)} problems", *lines]
    return said


def test_what_is_said_of_wrong_manifests_is_that_of_the_snapshot(tmp_path: Path) -> None:
    expected = json.loads(SNAPSHOT.read_bytes())
    said = problems_of_all(tmp_path)
    assert said.keys() == expected.keys()
    for name, lines in said.items():
        assert lines == expected[name], name


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        text = json.dumps(problems_of_all(Path(made)), indent=1, ensure_ascii=False)
    SNAPSHOT.write_text(text + "\n", encoding="utf-8")

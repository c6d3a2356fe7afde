"""Run the frames stage and the manifest readers on the corpus: ``python -m tests.hostile.runner FOLDER``.

Reads ``FOLDER/order.json`` and writes ``FOLDER/results.json``. It is a separate process, so that all its system calls
can be traced. It uses the engine's shards and child processes, without Prefect and Dask.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.engine.contract.items import Item, make_safe_id
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.lease import run_shard
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.store.outcomes import Outcome, Record
from tasks.engine.store.records import RecordStore
from tasks.frames.contact_sheets import render_contact_sheet, render_contact_sheets
from tasks.frames.manifest import read_samples
from tasks.frames.params import FramesParams
from tasks.frames.stage import FramesStage

TIMEOUT_SECONDS = 4.0
CAP_BYTES = FramesStage.memory_bytes
FRAMES = 4
ALL_FRAMES = 10_000


def run_videos(folder: Path, names: list[str], output_dir: Path, max_frames: int) -> list[dict[str, Any]]:
    """Return the result of each video, from one shard with one slot."""
    items = []
    for number, name in enumerate(names):
        payload = {"video": name, "samples": [{"id": f"s{number}", "support_seconds": [0.0, 1e18]}]}
        items.append(PlannedItem(Item(make_safe_id(name), payload, (str(folder / name),)), f"key {number}", number))
    context = RunContext("hostile", output_dir, Limits(TIMEOUT_SECONDS, CAP_BYTES))
    order = ShardOrder(context, FramesStage(FramesParams(max_frames=max_frames)), tuple(items))
    outcomes = run_shard(order, lambda _: None)
    close_slots("hostile")
    records = RecordStore(context.layout, FramesStage.name).load()
    return [
        _describe_result(name, outcome, records.get(outcome.id)) for name, outcome in zip(names, outcomes, strict=True)
    ]


def _describe_result(name: str, outcome: Outcome, record: Record | None) -> dict[str, Any]:
    return {
        "name": name,
        "outcome": outcome.outcome,
        "kind": outcome.failure_kind or "",
        "message": outcome.message,
        "frames": [row["sha256"] for row in record.detail["samples"][0]["frames"]] if record else [],
        "usage": asdict(outcome.usage),
    }


def read_manifests(manifests: list[Path], videos: Path) -> list[dict[str, Any]]:
    """Return the samples and problems of each manifest."""
    results = []
    for manifest in manifests:
        started = time.perf_counter()
        samples, problems = read_samples(manifest, videos)
        seconds = time.perf_counter() - started
        texts = [str(problem) for problem in problems]
        paths = [sample.video for sample in samples]
        fields = [dict(sample.fields) for sample in samples[:100]]
        json.dumps(fields, allow_nan=False)
        results.append({"name": manifest.name, "videos": paths, "problems": texts, "seconds": seconds})
    return results


def measure_contact_sheets(images: list[Path]) -> list[int]:
    """Return the size in bytes of a contact sheet of each image."""
    return [len(render_contact_sheet([(image, image.name)])) for image in images]


def count_altered_contact_sheets(images: list[Path]) -> int:
    """Return the number of contact sheets that the report renders from images that do not match their records."""
    frame = {"sha256": "0" * 64, "actual_seconds": 0.0, "source": "support"}
    sample = {"id": "a", "video": "a.mp4", "bad_frames": [], "outside_seconds": []}
    samples = [{**sample, "frames": [{**frame, "path": image.name}]} for image in images]
    return len(render_contact_sheets(samples, images[0].parent, max_samples=len(samples)))


def main(folder: Path) -> None:
    """Run all parts of the order."""
    order = json.loads((folder / "order.json").read_text(encoding="utf-8"))
    videos, output = folder / "videos", folder / "output"
    images = [folder / "images" / name for name in order["images"]]
    results = {
        "bases": run_videos(folder / "bases", order["bases"], output / "bases", ALL_FRAMES),
        "videos": run_videos(videos, order["videos"], output / "hostile", FRAMES),
        "manifests": read_manifests([folder / "manifests" / name for name in order["manifests"]], folder / "listed"),
        "images": measure_contact_sheets([image for image in images if image.stem != "bomb"]),
        "altered": count_altered_contact_sheets(images),
    }
    (output / "results.json").write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

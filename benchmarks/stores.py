"""Measure small items whose outputs go to a store: ``python benchmarks/stores.py``.

The store is moto's S3 server on this machine, which shares the cores with the run. The time of its answers is measured
too: with a real store, network latency comes on top.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cyclopts

from benchmarks.machine import describe_machine
from tests.stores.faulty_proxy import FaultyProxy
from tests.stores.s3_server import BUCKET, S3Server, run_s3_server

_COUNTED_ITEMS = 500


def main(items: int = 10_000, slots: int = 2) -> None:
    """Measure and print the cost and the requests per item.

    Args:
        items: Number of items; each writes one file of 100 bytes
        slots: Slots of the runs
    """
    _say(describe_machine())
    with run_s3_server() as server, tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        _say(f"the server answers a put in {_time_put(server) * 1000:.1f} ms")
        counted = min(items, _COUNTED_ITEMS)
        for word in ("first", "second"):
            with FaultyProxy(server.url, share=0.0).run() as proxy:
                _run(proxy.url, "counted", counted, slots, Path(folder))
                requests = {name: round(number / counted, 3) for name, number in sorted(proxy.requests.items())}
                _say(f"{word} run of {counted} items, requests per item: {requests}")
        local = _run("", "local", items, slots, Path(folder))
        _say(f"first run of {items} items into a local folder: {local:.1f} s, {local / items * 1000:.2f} ms per item")
        first = _run(server.url, "items", items, slots, Path(folder))
        _say(f"first run of {items} items into the store: {first:.1f} s, {first / items * 1000:.2f} ms per item")
        again = _run(server.url, "items", items, slots, Path(folder))
        _say(f"second run on the same machine, all cached: {again:.1f} s")
        elsewhere = _run(server.url, "items", items, slots, Path(folder, "other"))
        _say(f"second run on another machine, all cached: {elsewhere:.1f} s")


def _time_put(server: S3Server) -> float:
    client = server.client
    start = time.perf_counter()
    for number in range(50):
        client.put_object(Bucket=BUCKET, Key=f"warm/{number}", Body=b"x" * 100)
    return (time.perf_counter() - start) / 50


def _run(url: str, name: str, items: int, slots: int, folder: Path) -> float:
    """Run the items; return the seconds from the plan to the summary."""
    (folder / "tmp").mkdir(mode=0o700, parents=True, exist_ok=True)
    output = f"s3://{BUCKET}/{name}" if url else str(folder / name)
    options = ["--items", items, "--cpu-seconds", 0, "--bytes", 100, "--workers", slots, "--output-dir", output]
    variables = S3Server(url).variables if url else {}
    subprocess.run(
        [sys.executable, "benchmarks/burn.py", *map(str, options)],
        check=True,
        env={**os.environ, **variables, "TMPDIR": str(folder / "tmp")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return _read_seconds(url, name, folder)


def _read_seconds(url: str, name: str, folder: Path) -> float:
    if not url:
        return float(json.loads((folder / name / "summary.json").read_bytes())["wall_seconds"])
    answer = S3Server(url).client.get_object(Bucket=BUCKET, Key=f"{name}/summary.json")
    return float(json.loads(answer["Body"].read())["wall_seconds"])


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    cyclopts.run(main)

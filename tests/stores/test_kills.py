"""Kill a process while it publishes to a store: afterwards each item is done or not done, never torn.

The victim publishes items in a loop, each turn with other files. It dies before or after a chosen request.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stores.s3_server import S3Server

ROOT = Path(__file__).resolve().parents[2]

# Forks a victim for each line of its input: the URL, the turn, the number of the request at which to die (0: none), and
# "before" or "after". Prints the exit status and the number of requests.
VICTIMS = """
import os, signal, sys
from pathlib import Path
from tests.engine.test_records import publish_files
from tasks.engine.run import open_layout, open_output_dir
from tasks.engine.store.records import RecordStore
from tasks.stores.s3 import S3Store

def publish_all(url, turn, step, when):
    done, send = 0, S3Store._send

    async def dying(self, method, parameters):
        nonlocal done
        done += 1
        number = done  # others may be sent meanwhile
        if number == step and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await send(self, method, parameters)
        if number == step and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    S3Store._send = dying
    layout = open_layout(Path(url))
    with open_output_dir(layout, f"run-{turn}"):
        store = RecordStore(layout, "stage")
        store.prepare()
        for number in range(2):
            files = {f"made/{number}/{name}": f"{turn} {number} {name}" for name in ("same", f"other-{turn}")}
            with store.holding():
                store.look(f"item-{number}")
                publish_files(store, f"item-{number}", files, key=str(turn))
        store.tidy()
    return done

for line in sys.stdin:
    url, turn, step, when = line.split()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, str(publish_all(url, int(turn), int(step), when)).encode())
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), os.read(reader, 100).decode() or 0, flush=True)
    os.close(reader)
"""


class Victims:
    """Starts victims one after another."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, url: str, turn: int, step: int = 0, when: str = "before") -> tuple[int, int]:
        """Return the exit code of a victim, and the number of its requests if it was not killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{url} {turn} {step} {when}\n")
        self._process.stdin.flush()
        code, count = map(int, self._process.stdout.readline().split())
        assert code in (0, -signal.SIGKILL)
        return code, count


@pytest.fixture
def victims(prefix: str) -> Iterator[Victims]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", VICTIMS]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        yield Victims(process)
        process.kill()


def check(objects: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """Check that the outputs of every record are whole and of one turn; return the records by item."""
    records = {}
    for key, content in objects.items():
        if key.startswith(".headrace/records/") and key.endswith(".json"):
            record = records[key.rpartition("/")[2].removesuffix(".json")] = json.loads(content)
            for output in record["outputs"]:
                found = objects[output["path"]]
                assert hashlib.sha256(found).hexdigest() == output["sha256"]
                assert found.split()[0].decode() == record["key"]
    return records


def list_leftovers(objects: dict[str, bytes], records: dict[str, dict[str, Any]]) -> set[str]:
    """Return the keys of all objects that no record explains."""
    named = {output["path"] for record in records.values() for output in record["outputs"]}
    return {key for key in objects if key not in named and not key.startswith(".headrace/records/stage/item-")} | {
        key for key in objects if key.endswith(".stale")
    }


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("is_first", [True, False], ids=["new", "replaced"])
def test_killed_at_any_request(prefix: str, s3_server: S3Server, victims: Victims, when: str, is_first: bool) -> None:
    folder = prefix.partition("://")[2].partition("/")[2] + "/"
    _, count = victims.run(f"{prefix}-counted" if is_first else prefix, 1)
    step, turn, kills = 3, 2, 0
    while victims.run(prefix, turn, step, when)[0]:
        check(s3_server.list(folder))
        kills, step, turn = kills + 1, step + 2, turn + 1
    assert kills >= count // 2 - 2
    objects = s3_server.list(folder)
    records = check(objects)
    assert set(records) == {"item-0", "item-1"}
    assert {record["key"] for record in records.values()} == {str(turn)}
    assert list_leftovers(objects, records) == set()

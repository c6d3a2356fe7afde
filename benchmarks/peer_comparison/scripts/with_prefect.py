"""Make items with Prefect's task.map in a process pool: ``with_prefect.py ITEMS SLOTS LIMIT FOLDER``."""

import sys
from pathlib import Path

from item import make_item
from prefect import flow, task, unmapped
from prefect.futures import wait
from prefect.task_runners import ProcessPoolTaskRunner

ITEMS, SLOTS, LIMIT = map(int, sys.argv[1:4])


@task(timeout_seconds=LIMIT)
def run(number, folder):
    """Make one item; publish its file by a rename."""
    part = folder / f"{number}.part"
    make_item(number, part)
    part.replace(folder / f"{number}.txt")


@flow(task_runner=ProcessPoolTaskRunner(max_workers=SLOTS))
def items(folder):
    """Make the items without a file."""
    todo = [number for number in range(ITEMS) if not (folder / f"{number}.txt").exists()]
    futures = run.map(todo, unmapped(folder))
    wait(futures)
    failed = {n: str(future.state) for n, future in zip(todo, futures, strict=True) if not future.state.is_completed()}
    print("failed:", failed)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(items(Path(sys.argv[4])))

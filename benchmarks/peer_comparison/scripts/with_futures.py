"""Make items with ProcessPoolExecutor: ``with_futures.py ITEMS SLOTS LIMIT FOLDER``."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from item import make_item


def run(folder, number):
    """Make one item; publish its file by a rename."""
    part = folder / f"{number}.part"
    make_item(number, part)
    part.replace(folder / f"{number}.txt")


def main(items, slots, limit, folder):
    """Make the items without a file; wait ``limit`` seconds for each result, then end the processes that hang."""
    todo = [number for number in range(items) if not (folder / f"{number}.txt").exists()]
    failed = {}
    with ProcessPoolExecutor(slots) as executor:
        futures = {number: executor.submit(run, folder, number) for number in todo}
        for number, future in futures.items():
            try:
                future.result(timeout=limit)
            except Exception as error:  # noqa: BLE001 - a failed item is reported
                failed[number] = repr(error)
        for process in multiprocessing.active_children():
            process.kill()
    print("failed:", failed)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:4]), Path(sys.argv[4])))

"""Make items with multiprocessing.Pool: ``with_pool.py ITEMS SLOTS LIMIT FOLDER``."""

import sys
from functools import partial
from multiprocessing import Pool, TimeoutError  # noqa: A004 - its name there
from pathlib import Path

from item import make_item


def run(folder, number):
    """Make one item; publish its file by a rename."""
    part = folder / f"{number}.part"
    try:
        make_item(number, part)
        part.replace(folder / f"{number}.txt")
    except Exception as error:  # noqa: BLE001 - a failed item is reported
        return number, repr(error)
    return number, None


def main(items, slots, limit, folder):
    """Make the items without a file. If no item ends within ``limit`` seconds, the unfinished ones crashed or hang."""
    todo = [number for number in range(items) if not (folder / f"{number}.txt").exists()]
    failed = dict.fromkeys(todo, "crashed or hung")
    with Pool(slots) as pool:
        results = pool.imap_unordered(partial(run, folder), todo)
        for _ in todo:
            try:
                number, error = results.next(timeout=limit)
            except TimeoutError:
                break
            del failed[number]
            if error:
                failed[number] = error
    print("failed:", failed)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:4]), Path(sys.argv[4])))

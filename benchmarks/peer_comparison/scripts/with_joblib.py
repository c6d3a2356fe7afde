"""Make items with joblib on loky: ``with_joblib.py ITEMS SLOTS LIMIT FOLDER``."""

import sys
from multiprocessing import TimeoutError  # noqa: A004 - its name there
from pathlib import Path

from item import make_item
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError


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
    """Make the items without a file; a crash and an item above ``limit`` seconds end the run."""
    todo = [number for number in range(items) if not (folder / f"{number}.txt").exists()]
    parallel = Parallel(n_jobs=slots, timeout=limit, return_as="generator_unordered")
    failed = dict.fromkeys(todo, "not done")
    try:
        for number, error in parallel(delayed(run)(folder, number) for number in todo):
            del failed[number]
            if error:
                failed[number] = error
    except (TimeoutError, TerminatedWorkerError) as error:
        print("stopped:", repr(error))
    print("failed:", failed)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:4]), Path(sys.argv[4])))

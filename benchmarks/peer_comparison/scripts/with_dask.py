"""Make items with plain Dask on a LocalCluster of processes: ``with_dask.py ITEMS SLOTS LIMIT FOLDER``."""

import sys
from pathlib import Path

from distributed import Client, LocalCluster
from item import make_item


def run(number, folder):
    """Make one item; publish its file by a rename."""
    part = folder / f"{number}.part"
    make_item(number, part)
    part.replace(folder / f"{number}.txt")


def main(items, slots, limit, folder):
    """Make the items without a file; wait ``limit`` seconds for each result."""
    todo = [number for number in range(items) if not (folder / f"{number}.txt").exists()]
    failed = {}
    with (
        LocalCluster(n_workers=slots, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        futures = client.map(run, todo, folder=folder, pure=False)
        for number, future in zip(todo, futures, strict=True):
            try:
                future.result(timeout=limit)
            except Exception as error:  # noqa: BLE001 - a failed item is reported
                failed[number] = repr(error)
    print("failed:", failed)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:4]), Path(sys.argv[4])))

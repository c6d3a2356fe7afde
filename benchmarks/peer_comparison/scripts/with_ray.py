"""Make items with Ray Data and its checkpoints: ``with_ray.py ITEMS SLOTS LIMIT FOLDER``."""

import sys
from pathlib import Path

import pyarrow.parquet as pq
import ray
from item import make_item
from ray.data.checkpoint import CheckpointConfig


def run(row, folder):
    """Make one item; publish its file by a rename."""
    part = folder / f"{row['id']}.part"
    try:
        make_item(row["id"], part)
        part.replace(folder / f"{row['id']}.txt")
    except Exception as error:  # noqa: BLE001 - a failed item is reported
        return {"id": row["id"], "error": repr(error)}
    return {"id": row["id"], "error": ""}


def main(items, slots, folder):
    """Make the items that no checkpoint contains, one per block; a block that crashes twice is dropped."""
    state = folder.parent / "state"
    ray.init(num_cpus=slots, include_dashboard=False)
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1
    context.checkpoint_config = CheckpointConfig("id", str(state / "checkpoint"), delete_checkpoint_on_success=False)
    dataset = ray.data.range(items, override_num_blocks=items).map(run, fn_args=[folder], max_retries=1)
    dataset.write_parquet(str(state / "results"), ray_remote_args={"max_retries": 1})  # one task with the map
    errors = {row["id"]: row["error"] for row in pq.read_table(state / "results").to_pylist()}
    failed = {number: errors.get(number, "dropped") for number in range(items) if errors.get(number, "dropped")}
    print("failed:", failed)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[4])))

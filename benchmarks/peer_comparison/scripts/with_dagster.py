"""Make items with a dynamic Dagster job, one process per item: ``with_dagster.py ITEMS SLOTS LIMIT FOLDER``."""

import sys
from pathlib import Path

import dagster as dg
from item import make_item


@dg.op(out=dg.DynamicOut(int), config_schema={"items": int, "folder": str})
def list_items(context):
    """List the items without a file."""
    for number in range(context.op_config["items"]):
        if not Path(context.op_config["folder"], f"{number}.txt").exists():
            yield dg.DynamicOutput(number, mapping_key=str(number))


@dg.op(config_schema={"folder": str})
def run(context, number: int):
    """Make one item; publish its file by a rename."""
    part = Path(context.op_config["folder"], f"{number}.part")
    make_item(number, part)
    part.replace(part.with_suffix(".txt"))


@dg.job
def items_job():
    """Make the items without a file."""
    list_items().map(run)


def main(items, slots, folder):
    """Run the job on forked processes that have imported Dagster."""
    execution = {"max_concurrent": slots, "start_method": {"forkserver": {"preload_modules": ["dagster"]}}}
    config = {
        "execution": {"config": {"multiprocess": execution}},
        "ops": {"list_items": {"config": {"items": items, "folder": folder}}, "run": {"config": {"folder": folder}}},
        "loggers": {"console": {"config": {"log_level": "ERROR"}}},
    }
    with dg.DagsterInstance.get() as instance:
        job = dg.reconstructable(items_job)
        result = dg.execute_job(job, instance=instance, run_config=config)
        failed = [event.step_key for event in result.all_events if event.is_step_failure]
    print("failed:", failed)
    return not result.success


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[4]))

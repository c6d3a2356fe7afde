"""Make items with Headrace: ``with_headrace.py --items N --output-dir FOLDER --workers SLOTS --timeout LIMIT``."""

from pathlib import Path

from item import make_item

from tasks.api import Execution, Item, NoParams, Stage, StageResult, batch_flow


class MakeItem(Stage):
    """Makes one item."""

    name = "items"
    version = 1

    def run(self, item, work):
        """Write the file of the item."""
        make_item(int(item.id), work.output(f"out/{item.id}.txt"))
        return StageResult()


@batch_flow("with_headrace")
def with_headrace(output_dir: Path, items: int, execution: Execution = Execution()):
    """Make the items.

    Args:
        output_dir: Folder for out/ and the report
        items: Number of items
        execution: Execution options
    """

    def run_stage(run):
        run.stage(MakeItem(NoParams()), [Item(str(number)) for number in range(items)])
        return run.finish()

    return run_stage


if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("with_headrace"))

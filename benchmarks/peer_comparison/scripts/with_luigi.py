"""Make items with Luigi and its local scheduler: ``with_luigi.py ITEMS SLOTS LIMIT FOLDER``."""

import sys

import luigi
from item import make_item

ITEMS, SLOTS, LIMIT = map(int, sys.argv[1:4])


class MakeItem(luigi.Task):
    """One item; its file is written under another name and then renamed."""

    number = luigi.IntParameter()
    folder = luigi.Parameter()
    worker_timeout = LIMIT

    def output(self):
        """Return the file of the item."""
        return luigi.LocalTarget(f"{self.folder}/{self.number}.txt")

    def run(self):
        """Make the item."""
        with self.output().temporary_path() as part:
            make_item(self.number, part)


if __name__ == "__main__":
    tasks = [MakeItem(number=number, folder=sys.argv[4]) for number in range(ITEMS)]
    result = luigi.build(tasks, workers=SLOTS, local_scheduler=True, detailed_summary=True, log_level="WARNING")
    print(result.summary_text)
    sys.exit(result.status != luigi.LuigiStatusCode.SUCCESS)

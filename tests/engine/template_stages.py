"""Define stages for tests of templates: their items report on the process that runs them."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from pathlib import Path

from numpy import random as numpy_random  # numpy imports it at its first use

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import NoParams, Stage, StageResult, Workspace

_FOREVER_SECONDS = 3600.0


class ReportingStage(Stage):
    """Reports numbers and properties of its process."""

    name = "reporting"
    version = 1

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Do what the payload says."""
        match item.payload.get("do"):
            case "wait":
                while not Path(item.payload["gate"]).exists():
                    time.sleep(0.01)
            case "exit":
                sys.exit(item.payload["code"])
            case "signal":
                os.kill(os.getpid(), item.payload["signal"])
            case "close":
                os.closerange(3, 64)
                time.sleep(_FOREVER_SECONDS)
        return StageResult(_describe_process())


def _describe_process() -> dict[str, str | int | float]:
    started: list[int] = []
    thread = threading.Thread(target=lambda: started.append(threading.get_native_id()))
    thread.start()
    thread.join()
    return {
        "pid": os.getpid(),
        "slot_number": os.environ["HEADRACE_SLOT"],
        "python": random.random(),
        "numpy": float(numpy_random.random_sample()),
        "main_thread": threading.get_native_id(),
        "other_thread": started[0],
    }


def make_reporting_stage() -> ReportingStage:
    """Return the stage."""
    return ReportingStage(NoParams())

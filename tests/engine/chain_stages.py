"""Define stages with names of their own for graphs whose items run in child processes."""

from __future__ import annotations

from tests.engine.faults import FaultStage


class FirstStage(FaultStage):
    """The first stage of a chain."""

    name = "first"


class SecondStage(FaultStage):
    """The second stage of a chain."""

    name = "second"


class TableStage(FaultStage):
    """The stage of a table of all items."""

    name = "table"

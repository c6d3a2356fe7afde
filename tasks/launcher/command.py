"""Run a flow by its command line: load ``flow_command.py``, which does it."""

from __future__ import annotations

from tasks.launcher.loading import ExitOnInterrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(module: str, arguments: Sequence[str] | None = None, program: str = "") -> int:
    """Run the flow ``x`` of the module ``flows.x``, called ``program`` in its help; return the exit code.

    0 all done, 3 finished with failed items, 2 bad parameters or manifest, 130 interrupted, 1 anything else.
    """
    with ExitOnInterrupt():
        from tasks.launcher.flow_command import run_command_line
    return run_command_line(module, arguments, program)

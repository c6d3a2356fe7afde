"""All errors of the engine and the stages, in one tree.

HeadraceError
├── InvalidInput      the user's parameters or manifest; lists every problem; exit code 2
├── RunError          the run cannot start or continue (no space, no cluster, locked folder)
│   └── LockLost      another run may be at work in the output folder: do not write to it
├── RunUnfinished     the run ended before all work was done; holds the exit code
└── ItemError         one item failed; the run continues
    ├── BadInput      the item's input can never work; not retried
    ├── OutputBlocked  an output path of the item is occupied; not retried
    └── TransientError  a retry may succeed
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.engine.contract.text import one_line


class HeadraceError(Exception):
    """Base of the tree. The message is one line and says how to continue; names in it are escaped."""

    def __str__(self) -> str:
        return one_line(super().__str__())


@dataclass(frozen=True)
class Problem:
    """One problem in the user's input, shown as one line.

    where    the option, or the row and column of the manifest
    given    the value there
    allowed  the values that are allowed
    advice   how to fix it
    """

    where: str
    given: str
    allowed: str
    advice: str = ""

    def __str__(self) -> str:
        line = f"{self.where}: {self.given}; allowed: {self.allowed}"
        return one_line(f"{line}; {self.advice}" if self.advice else line)


class InvalidInput(HeadraceError):
    """All problems of the parameters and the manifest."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class RunError(HeadraceError):
    """The run cannot start or continue."""


class LockLost(RunError):
    """The run no longer holds the lock of its output folder, and must not write to the folder."""


class RunUnfinished(HeadraceError):
    """The run was interrupted, or too many items failed. Its results and its summary are written."""

    def __init__(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class ItemError(HeadraceError):
    """An item failed for a reason that its stage names."""


class BadInput(ItemError):
    """The item's input is damaged, missing or of the wrong kind; it is not retried."""


class OutputBlocked(ItemError):
    """An output of the item cannot be written, for example because a folder has its name."""


class TransientError(ItemError):
    """A failure outside the item that may pass; the item is retried with backoff."""

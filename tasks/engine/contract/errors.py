"""Every error that the engine and the stages raise, in one tree.

HeadraceError
├── InvalidInput      the user's parameters or manifest; lists every problem; exit code 2
├── RunError          the run cannot start or go on (no room, no cluster, locked folder)
│   └── LockLost      another run may be at work in the output folder: nothing more may be written
├── RunUnfinished     the run came to its end without all that was asked of it; bears the exit code
└── ItemError         one item failed; the run goes on
    ├── BadInput      the item's input can never work; tried once
    ├── OutputBlocked  something is in the way of the item's outputs; tried once
    └── TransientError  may pass when tried again
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.engine.contract.text import one_line


class HeadraceError(Exception):
    """Base of the tree. Its message says what to do, in one line: names and other people's words in it are shown."""

    def __str__(self) -> str:
        return one_line(super().__str__())


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what the user gave, said in one line.

    ``where`` names the option or the manifest's row and field, ``given`` what stands there,
    ``allowed`` what may stand there, ``advice`` what to do about it.
    """

    where: str
    given: str
    allowed: str
    advice: str = ""

    def __str__(self) -> str:
        line = f"{self.where}: {self.given}; allowed: {self.allowed}"
        return one_line(f"{line}; {self.advice}" if self.advice else line)


class InvalidInput(HeadraceError):
    """Everything that is wrong with the parameters and the manifest, at once."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class RunError(HeadraceError):
    """The run as a whole cannot start or go on."""


class LockLost(RunError):
    """The run does not hold its output folder's lock any more. Nothing may be written to the folder after it."""


class RunUnfinished(HeadraceError):
    """A run that was interrupted, or in which too much failed. Its results and its summary are written."""

    def __init__(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class ItemError(HeadraceError):
    """An item failed for a reason that its stage knows and names."""


class BadInput(ItemError):
    """The item's input is damaged, missing or of the wrong kind: never tried again."""


class OutputBlocked(ItemError):
    """An output of the item cannot be written at its place, such as a name that a folder has."""


class TransientError(ItemError):
    """Something outside the item failed that may pass: tried again with backoff."""

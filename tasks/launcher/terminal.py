"""Exit codes, and lines printed for the user."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from tasks.engine.contract.errors import HeadraceError, InvalidInput, Problem
from tasks.engine.contract.text import showable

EXIT_ERROR = 1
EXIT_INVALID = 2
EXIT_INTERRUPTED = 130


def print_line(line: str) -> None:
    """Print one line on standard error, control characters escaped."""
    print(showable(line), file=sys.stderr)


def print_problems(problems: Sequence[Problem]) -> int:
    """Print a line per problem; return the exit code of a usage error."""
    for problem in problems:
        print_line(f"error: {problem}")
    return EXIT_INVALID


def report_errors(command: Callable[[], int]) -> int:
    """Return the exit code of ``command``; print a line per error."""
    try:
        return command()
    except InvalidInput as error:
        return print_problems(error.problems)
    except HeadraceError as error:
        print_line(f"error: {error}")
        return EXIT_ERROR
    except KeyboardInterrupt:
        print_line("interrupted before the run began; nothing was changed")
        return EXIT_INTERRUPTED

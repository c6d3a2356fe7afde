"""Exit codes, and lines printed for the user."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from typing import TYPE_CHECKING, Any, TextIO

from tasks.engine.contract.errors import HeadraceError, InvalidInput, Problem, RunError
from tasks.engine.contract.text import showable
from tasks.launcher.loading import EXIT_INTERRUPTED, INTERRUPTED

if TYPE_CHECKING:
    from rich.console import Console

EXIT_ERROR = 1
EXIT_INVALID = 2
EXIT_BROKEN_PIPE = 141  # as if SIGPIPE had ended the process: 128 + 13


class BrokenOutput(HeadraceError):
    """Nobody reads standard output any more, as after ``| head``."""


class _LenientStream:
    """Standard error that ignores write errors: a full disk or a closed pipe there does not end a run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def print_line(line: str) -> None:
    """Print one line on standard error, control characters escaped."""
    print(showable(line), file=sys.stderr)


def print_output(line: str) -> None:
    """Print one line on standard output, control characters escaped. Raises BrokenOutput or RunError if that fails."""
    with writing_output():
        print(showable(line))


@contextmanager
def writing_output() -> Iterator[None]:
    """Turn errors of standard output in the block into BrokenOutput or RunError."""
    try:
        yield
    except BrokenPipeError as error:
        _discard(sys.stdout)
        raise BrokenOutput(str(error)) from None
    except OSError as error:
        _discard(sys.stdout)
        raise RunError(f"cannot write to standard output: {error.strerror}") from None


def build_console() -> Console:
    """Return a console for help texts. If nobody reads them, it raises BrokenPipeError; Rich ends the process."""
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return PipeConsole()


def print_problems(problems: Sequence[Problem]) -> int:
    """Print a line per problem; return the exit code of a usage error."""
    for problem in problems:
        print_line(f"error: {problem}")
    return EXIT_INVALID


def report_errors(command: Callable[[], int]) -> int:
    """Return the exit code of ``command``, after its output is written; print a line per error."""
    with redirect_stderr(_LenientStream(sys.stderr)):
        code = _report_errors(command)
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)
    return code


def _report_errors(command: Callable[[], int]) -> int:
    try:
        code = command()
        with writing_output():
            sys.stdout.flush()
    except InvalidInput as error:
        return print_problems(error.problems)
    except BrokenOutput:
        return EXIT_BROKEN_PIPE
    except HeadraceError as error:
        print_line(f"error: {error}")
        return EXIT_ERROR
    except KeyboardInterrupt:
        print_line(INTERRUPTED)
        return EXIT_INTERRUPTED
    return code


def _discard(stream: TextIO) -> None:
    """Let a stream lead nowhere, so that Python does not fail to write the rest of it when it exits."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

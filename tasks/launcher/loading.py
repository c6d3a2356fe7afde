"""Interruption while modules are loaded: Ctrl+C ends the process at once, without a traceback.

This module imports as little as possible, since Python prints a traceback if it is interrupted before.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than all of this
    from collections.abc import Callable

EXIT_INTERRUPTED = 130
INTERRUPTED = "interrupted before the run began; nothing was changed"


class ExitOnInterrupt:
    """End the process at Ctrl+C, after ``clean_up``, while a block imports modules.

    KeyboardInterrupt would not do: raised in a callback of the import system or of Pydantic, it is lost or becomes
    another error. A handler that is set already stays, and so does an ignored signal.
    """

    def __init__(self, clean_up: Callable[[], None] | None = None) -> None:
        self.clean_up = clean_up
        self._is_set = False

    def __enter__(self) -> None:
        """Set the handler, if this is the main thread: only there Python allows it."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            try:
                signal.signal(signal.SIGINT, lambda *_: self._exit())
            except ValueError:
                return
            self._is_set = True

    def __exit__(self, *_: object) -> None:
        """Set Python's own handler again."""
        if self._is_set:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _exit(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            os.write(sys.stderr.fileno(), f"{INTERRUPTED}\n".encode())
            if self.clean_up:
                self.clean_up()
        finally:
            os._exit(EXIT_INTERRUPTED)

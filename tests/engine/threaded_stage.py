"""Define a stage whose module starts a thread when it is imported."""

from __future__ import annotations

import threading

from tests.engine.template_stages import ReportingStage

_never = threading.Event()
threading.Thread(target=_never.wait, daemon=True).start()


class ThreadedStage(ReportingStage):
    """Cannot be forked from a template."""

    name = "threaded"

"""The user's Prefect home: check that its profiles can be read before Prefect, which reads them, is imported."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.engine.contract.errors import RunError

if TYPE_CHECKING:
    from tasks.launcher.api import LocalApi


def check_prefect_home(api: LocalApi | None) -> str:
    """Return a message if the user's Prefect home cannot be read; then that of ``api`` is used instead.

    Prefect cannot be imported with such a home. Raises RunError if there is no ``api``.
    """
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    profiles = home / "profiles.toml"
    try:
        tomllib.loads(profiles.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        problem = str(error) if isinstance(error, OSError) else f"{profiles} is not TOML: {error}"
        if api is None:
            advice = "correct it, or set PREFECT_HOME to a folder of yours"
            raise RunError(f"the Prefect home cannot be read: {problem}; {advice}") from None
        os.environ["PREFECT_HOME"] = str(api.home)
        return f"the Prefect home cannot be read: {problem}; its profiles are not used"
    return ""

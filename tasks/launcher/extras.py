"""Extras: the distributions that the flows of one field need, and which of them are missing."""

from __future__ import annotations

import importlib.metadata
import json
import re
from typing import Literal, get_args

from tasks.engine.contract.errors import RunError

Extra = Literal["video", "signs", "stars"]
DISTRIBUTION = "headrace"
OPTIONAL_EXTRAS = ("neural", "yolo", "torch", "lance", "s3", "sftp", "jobs", "ssh", "kubernetes")
ALL_EXTRAS = (*get_args(Extra), *OPTIONAL_EXTRAS)


def required_distributions(extra: str) -> list[str]:
    """Return the names of the distributions that an extra of the installed Headrace requires."""
    lines = importlib.metadata.requires(DISTRIBUTION) or []
    return [
        re.split(r"[\s<>=!~;\[(]", line, maxsplit=1)[0]
        for line in lines
        if re.search(rf"""extra == ['"]{re.escape(extra)}['"]""", line)
    ]


def missing_distributions(extra: str) -> list[str]:
    """Return the names of the distributions of ``extra`` that are not installed."""
    return [name for name in required_distributions(extra) if not _is_installed(name)]


def check_extra(flow: str, extra: str) -> None:
    """Raise RunError if the extra that ``flow`` needs is missing or incomplete."""
    if names := ", ".join(missing_distributions(extra)):
        raise RunError(f"{flow} needs the extra {extra}, which lacks {names}; install it: {install_command(extra)}")


def install_command(extra: str) -> str:
    """Return the command that installs ``extra`` in addition to the complete extras."""
    if not is_checkout():
        return f"pip install '{DISTRIBUTION}[{extra}]'"
    if extra == "torch":  # not in the locks
        return "make torch"
    others = [name for name in ALL_EXTRAS if name not in (extra, "torch") and not missing_distributions(name)]
    return f"make setup EXTRAS='{' '.join([*others, extra])}'"


def is_checkout() -> bool:
    """Return True if Headrace is installed from a checkout that can be edited."""
    text = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    return bool(text and json.loads(text).get("dir_info", {}).get("editable"))


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True

"""Compile ``requirements.lock`` and ``requirements-dev.lock`` from ``pyproject.toml``, by the environment's uv.

Both are universal (every platform, Python 3.11 to 3.13) and carry hashes but no index address. The second holds the
first: it is compiled with the first as a constraint.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from environment import build_uv_variables, read_pip_settings

COMPILE = (
    "pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --quiet"
    " --no-emit-index-url --no-emit-find-links --extra video --extra signs --extra stars"
).split()


def compile_lock(output: str, options: list[str]) -> None:
    """Write the lock ``output``; versions that it holds already stay unless ``--upgrade`` is among the options."""
    uv = str(Path(sys.executable).with_name("uv"))
    variables = build_uv_variables(read_pip_settings(os.environ), os.environ)
    # Locks are made from the default index alone: what a machine has beside it is not what others can install.
    for name in ("UV_INDEX", "UV_FIND_LINKS", "UV_INDEX_STRATEGY"):
        variables.pop(name, None)
    environment = {**os.environ, **variables, "UV_CUSTOM_COMPILE_COMMAND": "make lock"}
    subprocess.run([uv, *COMPILE, "--output-file", output, *options], check=True, env=environment)


if __name__ == "__main__":
    compile_lock("requirements.lock", sys.argv[1:])
    compile_lock("requirements-dev.lock", ["--group", "dev", "--constraints", "requirements.lock", *sys.argv[1:]])

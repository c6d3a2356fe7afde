"""A separate environment for the readers of other projects; creating it needs a package index."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from environment import pip_settings, uv_variables

# torchcodec 0.17 requires CUDA libraries; 0.11.1 works with a CPU build of torch and FFmpeg 8.
PACKAGES = ("torch==2.13.0+cpu", "torchcodec==0.11.1", "decord==0.6.0", "numpy<3")


def make_peers(folder: Path) -> Path:
    """Return the interpreter of the environment in ``folder``; create the environment if it is missing."""
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if ready.exists():
        return python
    uv = str(Path(sys.executable).with_name("uv"))
    environment = {**os.environ, **uv_variables(pip_settings(os.environ), os.environ)}
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", "3.11", str(folder)], check=True, env=environment)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *PACKAGES], check=True, env=environment)
    ready.touch()
    return python


def get_library_variables(folder: Path) -> Mapping[str, str]:
    """Return variables with which torchcodec finds the FFmpeg libraries of PyAV's wheel, under their plain names."""
    spec = find_spec("av")
    assert spec is not None
    assert spec.origin is not None
    wheel = Path(spec.origin).parent.parent / "av.libs"
    folder.mkdir(parents=True, exist_ok=True)
    for library in wheel.glob("lib*.so*"):
        plain = re.sub(r"-[0-9a-f]{8}(\.so\.\d+).*", r"\1", library.name)
        link = folder / plain
        link.unlink(missing_ok=True)
        link.symlink_to(library)
    inherited = os.environ.get("LD_LIBRARY_PATH", "")
    return {"LD_LIBRARY_PATH": ":".join(filter(None, [str(folder), str(wheel), inherited]))}

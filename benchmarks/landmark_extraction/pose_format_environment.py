"""Environment for pose-format's extractor, which needs a mediapipe version with the removed solutions API."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from environment import pip_settings, uv_variables

PACKAGES = ("pose-format==0.15.0", "mediapipe==0.10.21", "numpy<2", "opencv-contrib-python-headless<4.12")
# Its mediapipe requires the OpenCV package with GUI support, which some machines cannot load.
OVERRIDE = "opencv-contrib-python; sys_platform == 'never'\n"


def prepare_python(folder: Path) -> Path:
    """Return the interpreter of the environment in ``folder``; create it if it is missing (needs a package index)."""
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if ready.exists():
        return python
    uv = str(Path(sys.executable).with_name("uv"))
    environment = {**os.environ, **uv_variables(pip_settings(os.environ), os.environ)}
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", "3.11", str(folder)], check=True, env=environment)
    override = folder / "override.txt"
    override.write_text(OVERRIDE)
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "--override", str(override), *PACKAGES]
    subprocess.run(install, check=True, env=environment)
    ready.touch()
    return python

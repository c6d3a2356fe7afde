"""``headrace doctor``: report missing software and resources, each with the command that fixes it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tasks.engine.planning.sizing import read_host
from tasks.engine.store.files import format_bytes
from tasks.launcher.extras import (
    OPTIONAL_EXTRAS,
    Extra,
    install_command,
    is_checkout,
    missing_distributions,
    required_distributions,
)
from tasks.launcher.terminal import print_output

MODELS = ("holistic", "hands")  # of --model by default, and of --rescue-hands
CV2_DISTRIBUTION = "opencv-contrib-python"
_MIN_BYTES = 2**30
# Shared libraries of the system, with the Debian packages that have them.
_CV2_LIBRARIES = {"libGL.so.1": "libgl1", "libglib-2.0.so.0": "libglib2.0-0", "libxcb.so.1": "libxcb1"}
_MEDIAPIPE_LIBRARIES = {"libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2"}
_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Finding:
    """The result of one check. ``command`` installs the missing or optional part."""

    subject: str
    state: Literal["ok", "missing", "optional"]
    text: str
    command: str = ""

    def lines(self) -> list[str]:
        """Return the lines that report it."""
        return [f"{self.state:8}  {self.subject}: {self.text}", *([f"{'':10}{self.command}"] if self.command else [])]


def check_installation(*fields: Extra) -> int:
    """Report missing software and resources, each with the command that fixes it; exit code 1 if any is missing.

    Args:
        fields: Extras that must be installed: video, signs, stars (default: those that are installed in part)
    """
    findings = list(examine(set(fields)))
    for finding in findings:
        for line in finding.lines():
            print_output(line)
    missing = sum(finding.state == "missing" for finding in findings)
    print_output(f"{missing} missing" if missing else "all requirements are met")
    return 1 if missing else 0


def examine(required: set[Extra]) -> Iterator[Finding]:
    """Yield the findings. ``required``: extras that count as missing even if none of their packages is installed."""
    fields = [extra for extra in get_args(Extra) if extra in required or _is_in_use(extra)]
    for extra in get_args(Extra):
        yield check_field(extra, extra in fields)
    for extra in OPTIONAL_EXTRAS:
        yield check_optional_extra(extra)
    yield check_cv2_owner()
    yield check_libraries("OpenCV", _CV2_LIBRARIES)
    if "signs" in fields:
        yield check_libraries("MediaPipe", _MEDIAPIPE_LIBRARIES)
        yield from check_models()
    if "video" in fields:
        yield check_ffmpeg()
    yield check_memory()
    yield check_temporary_folder()
    if address := os.environ.get("PREFECT_API_URL"):
        yield check_server(address)


def _is_in_use(extra: Extra) -> bool:
    """Return True if a distribution that no other field needs is installed."""
    others = {name for other in get_args(Extra) if other != extra for name in required_distributions(other)}
    own = set(required_distributions(extra)) - others
    return bool(own - set(missing_distributions(extra)))


def check_field(extra: Extra, in_use: bool) -> Finding:
    """Check the distributions of a field's extra."""
    missing = missing_distributions(extra)
    if not missing:
        return Finding(extra, "ok", "installed")
    text = f"lacks {', '.join(missing)}" if in_use else "not installed"
    return Finding(extra, "missing" if in_use else "optional", text, install_command(extra))


def check_optional_extra(extra: str) -> Finding:
    """Check an extra that no flow needs by default."""
    missing = missing_distributions(extra)
    if missing:
        return Finding(extra, "optional", "not installed", install_command(extra))
    return Finding(extra, "ok", "installed")


def check_cv2_owner() -> Finding:
    """Check that one distribution owns the folder ``cv2/``: two overwrite each other's files."""
    owners = sorted(
        distribution.name
        for distribution in importlib.metadata.distributions()
        if any(path.parts[0] == "cv2" for path in distribution.files or ())
    )
    if owners == [CV2_DISTRIBUTION]:
        return Finding("cv2", "ok", f"of {CV2_DISTRIBUTION}")
    remove = f"{_uninstall(owners)} && " if owners else ""
    text = f"of {', '.join(owners) or 'no distribution'}, not of {CV2_DISTRIBUTION} alone"
    return Finding("cv2", "missing", text, f"{remove}{_reinstall(CV2_DISTRIBUTION)}")


def check_libraries(program: str, libraries: dict[str, str]) -> Finding:
    """Check that the loader finds the shared libraries that ``program`` is linked to."""
    missing = [name for name in libraries if not can_load(name)]
    if not missing:
        return Finding(f"libraries of {program}", "ok", ", ".join(libraries))
    packages = " ".join(libraries[name] for name in missing)
    return Finding(f"libraries of {program}", "missing", ", ".join(missing), f"apt-get install --yes {packages}")


def can_load(library: str) -> bool:
    """Return True if the loader finds ``library``."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def check_models() -> Iterator[Finding]:
    """Check that MediaPipe's model files are on this machine; otherwise the first run downloads them."""
    from tasks.landmarks.models.catalogue import CATALOGUE
    from tasks.landmarks.models.finding import find_in_folder, has_content
    from tasks.landmarks.models.settings import read_settings

    settings = read_settings(os.environ)
    for name in MODELS:
        file = CATALOGUE[name]
        content = file.sha256, file.bytes
        is_cached = has_content(settings.cache / file.file_name, *content)
        if is_cached or find_in_folder(settings.folder, file.file_name, *content):
            yield Finding(f"model {name}", "ok", file.file_name)
        else:
            text = f"{file.file_name} is not in {settings.folder or settings.cache}; a run would download it"
            program = Path(sys.executable).with_name("headrace")
            yield Finding(f"model {name}", "optional", text, f"{program} models {name}")


def check_ffmpeg() -> Finding:
    """Check that the ffmpeg program of imageio-ffmpeg runs."""
    command = _reinstall("imageio-ffmpeg")
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return Finding("ffmpeg", "missing", "imageio-ffmpeg is not installed", command)
    import imageio_ffmpeg

    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        ran = subprocess.run([program, "-version"], capture_output=True, check=True, timeout=_TIMEOUT_SECONDS)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return Finding("ffmpeg", "missing", f"does not run: {error}", command)
    return Finding("ffmpeg", "ok", ran.stdout.decode(errors="replace").partition(" Copyright")[0])


def check_memory() -> Finding:
    """Check that there is memory for a few items; limits of containers count."""
    free = read_host().free_memory_bytes
    if free >= _MIN_BYTES:
        return Finding("memory", "ok", f"{format_bytes(free)} available")
    text = f"{format_bytes(free)} available, {format_bytes(_MIN_BYTES)} needed"
    command = "end other programs; in a container: docker update --memory 2g --memory-swap 2g CONTAINER"
    return Finding("memory", "missing", text, command)


def check_temporary_folder() -> Finding:
    """Check that the temporary folder takes files."""
    try:
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("temporary folder", "missing", str(error), "export TMPDIR=/folder/with/space")
    if free >= _MIN_BYTES:
        return Finding("temporary folder", "ok", f"{format_bytes(free)} free in {folder}")
    text = f"{format_bytes(free)} free in {folder}, {format_bytes(_MIN_BYTES)} needed"
    return Finding("temporary folder", "missing", text, "export TMPDIR=/folder/with/space")


def check_server(address: str) -> Finding:
    """Check that the Prefect server at ``address`` answers."""
    import httpx

    from tasks.launcher.running_server import describe_unauthorized, split_password

    auth = split_password(os.environ.get("PREFECT_API_AUTH_STRING", ""))
    try:
        httpx.get(f"{address.rstrip('/')}/health", timeout=_TIMEOUT_SECONDS).raise_for_status()
        answer = httpx.get(f"{address.rstrip('/')}/admin/version", auth=auth, timeout=_TIMEOUT_SECONDS)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            text = f"{address} (PREFECT_API_URL) {describe_unauthorized(auth is not None)}"
            return Finding("Prefect server", "missing", text, "export PREFECT_API_AUTH_STRING=USER:PASSWORD")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = f"{address} (PREFECT_API_URL) does not answer: {error}"
        return Finding("Prefect server", "missing", text, "prefect server start")
    return Finding("Prefect server", "ok", address)


def fetch_models(*names: str) -> int:
    """Download MediaPipe's model files, unless they are on this machine.

    Args:
        names: holistic, hands, pose, pose-lite, pose-heavy or face (default: holistic and hands)
    """
    from tasks.engine.contract.errors import InvalidInput
    from tasks.landmarks.models import store

    chosen = [store.choose_model(name) for name in names or MODELS]
    problems = [problem for _, found in chosen for problem in found]
    models = [model for model, _ in chosen if model]
    problems += [] if problems else store.fetch_models(models)
    if problems:
        raise InvalidInput(problems)
    for model in models:
        print_output(str(store.locate_model(model)))
    return 0


def _reinstall(distribution: str) -> str:
    """Return the command that installs a distribution again. A checkout's environment has uv and no pip."""
    program = Path(sys.executable)
    if is_checkout():
        return f"{program.with_name('uv')} pip install --python {program} --reinstall {distribution}"
    return f"{program} -m pip install --force-reinstall {distribution}"


def _uninstall(distributions: Sequence[str]) -> str:
    program, names = Path(sys.executable), " ".join(distributions)
    if is_checkout():
        return f"{program.with_name('uv')} pip uninstall --python {program} {names}"
    return f"{program} -m pip uninstall --yes {names}"

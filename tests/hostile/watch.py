"""What a process and all that it starts did to files and the network, by strace."""

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
_START = ("execve", "execveat")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)(?:<(.*?)>(?:\(deleted\))?)?(?: .*)?$")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FOLDER = re.compile(r"(AT_FDCWD|\d+)<((?:[^>\\]|\\.)*)>")
_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")


@dataclass(frozen=True)
class Deed:
    """One system call that did or tried something: ``kind`` is read, write, change, network or start."""

    kind: str
    call: str
    path: str
    done: bool
    line: str


def strace(command: list[str], folder: Path, cwd: Path, env: dict[str, str], seconds: float) -> list[Deed]:
    """Run ``command`` and tell what it and its children did. Fails where it does not end well."""
    folder.mkdir()
    calls = ",".join(f"?{call}" for call in (*_OPEN, *_CHANGE, *_NETWORK, *_START))
    words = ["strace", "-ff", "--seccomp-bpf", "-y", "-qq", "-e", "signal=none", "-e", f"trace={calls}"]
    words += ["-o", str(folder / "trace"), *command]
    done = subprocess.run(words, cwd=cwd, env=env, timeout=seconds, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-4000:]
    return [deed for trace in sorted(folder.iterdir()) for deed in deeds(trace)]


def deeds(trace: Path) -> Iterator[Deed]:
    """The deeds of one thread."""
    for line in trace.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        if line.startswith(("+++", "---")):
            continue
        found = _CALL.match(line)
        if found is None:  # unfinished because the thread ended: the worst is assumed
            yield Deed("unclear", line.partition("(")[0], "", True, line)
            continue
        call, arguments, result, real = found.groups()
        yield from _deeds_of(call, arguments, result.lstrip("-").isdigit() and int(result) >= 0, real, line)


def _deeds_of(call: str, arguments: str, done: bool, real: str | None, line: str) -> Iterator[Deed]:
    if call in _NETWORK:
        yield Deed("network", call, "", done, line)
    elif call in _OPEN:
        kind = "write" if call == "creat" or _WRITES.search(arguments) else "read"
        yield Deed(kind, call, _plain(real) if real else next(_paths(arguments), ""), done, line)
    else:
        kind = "start" if call in _START else "change"
        paths = list(_paths(arguments))
        for path in paths[:1] if kind == "start" or call.startswith("symlink") else paths:
            yield Deed(kind, call, path, done, line)


def _paths(arguments: str) -> Iterator[str]:
    """Every path among the arguments, from the root: a relative one belongs to the folder before it."""
    folder = str(Path.cwd())
    for found in re.finditer(f"{_FOLDER.pattern}|{_TEXT.pattern}", arguments):
        if found[3] is None:
            folder = _plain(found[2])
        else:
            yield os.path.normpath(Path(folder, _plain(found[3])))


def _plain(text: str) -> str:
    """strace writes bytes as C does."""
    raw: bytes = codecs.escape_decode(text.encode("utf-8", "surrogateescape"))[0]  # type: ignore[attr-defined]
    return os.fsdecode(raw)


def is_within(path: str, *folders: Path | str) -> bool:
    """Whether ``path`` is one of ``folders`` or lies in one."""
    return any(path == str(folder) or path.startswith(f"{str(folder).rstrip('/')}/") for folder in folders)


def system_folders() -> list[Path]:
    """Where Python, its packages and the system's libraries lie."""
    found = [sys.prefix, sys.base_prefix, sys.exec_prefix, "/usr/lib", "/lib", "/lib64", "/usr/lib64", "/usr/local/lib"]
    found += ["/usr/share/zoneinfo", "/usr/share/locale", "/etc/ld.so.cache", "/etc/localtime", "/proc", "/sys"]
    found += ["/etc/ssl", "/etc/locale.alias"]
    return [Path(real) for path in found for real in {path, os.path.realpath(path)}]

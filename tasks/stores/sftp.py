"""Files on an SFTP server. Keys, agents, known hosts and ``~/.ssh/config`` of the user apply, as with ssh.

A file is written under a temporary name and renamed. A plain SFTP rename fails if the new name exists, which makes it
the condition that a file is new.
"""

from __future__ import annotations

import errno
import posixpath
import stat
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import paramiko

from tasks.stores.base import ObjectInfo, Pace, WritableStore, read_verified
from tasks.stores.errors import ObjectExists, StoreError, Transient
from tasks.stores.location import Location

T = TypeVar("T")
_CONNECT_SECONDS, _ANSWER_SECONDS = 15.0, 120.0
_TEMPORARY = ".headrace-"  # begins the names of files that are not whole
_BLOCK_BYTES = 32 * 1024


class SftpStore(WritableStore):
    """The files below one folder. Each thread has a connection of its own."""

    def __init__(self, location: Location, pace: Pace | None = None) -> None:
        super().__init__(location, pace)
        self._root = f"/{location.path}"
        self._own = threading.local()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the files whose keys begin with ``prefix``, a folder."""
        folders = [prefix.rstrip("/")]
        while folders:
            folder = folders.pop()
            for entry in self._list_folder(folder):
                key = f"{folder}/{entry.filename}" if folder else entry.filename
                if stat.S_ISDIR(entry.st_mode or 0):
                    folders.append(key)
                elif not entry.filename.startswith(_TEMPORARY):
                    yield _describe(key, entry)

    def find(self, key: str) -> ObjectInfo | None:
        """Return one file; None if there is none."""

        def request(ftp: paramiko.SFTPClient) -> ObjectInfo | None:
            try:
                status = ftp.stat(self._path(key))
            except FileNotFoundError:
                return None
            return _describe(key, status) if stat.S_ISREG(status.st_mode or 0) else None

        return self._call(request)

    def read_range(self, key: str, etag: str, start: int, end: int) -> bytes:
        """Return a range of a file."""

        def request(ftp: paramiko.SFTPClient) -> bytes:
            try:
                with ftp.open(self._path(key), "rb") as file:
                    info = _describe(key, file.stat())
                    if etag and info.etag != etag:
                        raise self.make_changed(key)
                    stop = min(end, info.size_bytes)
                    starts = range(start, stop, _BLOCK_BYTES)
                    blocks = [(place, min(_BLOCK_BYTES, stop - place)) for place in starts]
                    content = b"".join(file.readv(blocks)) if blocks else b""
            except FileNotFoundError as error:
                raise self.make_missing(key) from error
            if len(content) != max(0, stop - start):
                raise Transient(f"{len(content)} of {stop - start} bytes arrived")
            return content

        return self._call(request)

    def put(self, key: str, content: bytes, *, is_new: bool = False, match: str = "") -> ObjectInfo:
        """Write a small file."""

        def request(ftp: paramiko.SFTPClient) -> ObjectInfo:
            if match and ((found := self._find(ftp, key)) is None or found.etag != match):
                raise self.make_changed(key)
            return self._write(ftp, key, iter([content]), len(content), is_new)

        return self._call(request)

    def upload(self, key: str, path: Path, sha256: str, guard: Callable[[], None]) -> ObjectInfo:
        """Write a file as a new one."""

        def request(ftp: paramiko.SFTPClient) -> ObjectInfo:
            return self._write(ftp, key, read_verified(path, sha256), path.stat().st_size, is_new=True)

        return self._call(request, guard)

    def _write(
        self, ftp: paramiko.SFTPClient, key: str, chunks: Iterator[bytes], size_bytes: int, is_new: bool
    ) -> ObjectInfo:
        """Write a file under a temporary name and rename it. Raises ObjectExists if it must be new and is not."""
        target = self._path(key)
        temporary = posixpath.join(posixpath.dirname(target), f"{_TEMPORARY}{uuid.uuid4().hex}")
        try:
            with self._create(ftp, temporary) as file:
                file.set_pipelined(True)
                for chunk in chunks:
                    file.write(chunk)
            _check_size(ftp, temporary, size_bytes)
            if is_new:
                _rename_new(ftp, temporary, target, self._make_exists(key))
            else:
                ftp.posix_rename(temporary, target)
        except BaseException:
            with suppress(OSError, EOFError, paramiko.SSHException):
                ftp.remove(temporary)
            raise
        return _describe(key, ftp.stat(target))

    def _create(self, ftp: paramiko.SFTPClient, path: str) -> paramiko.SFTPFile:
        """Open a new file; create the folders above it if they are missing."""
        try:
            return ftp.open(path, "wbx")
        except FileNotFoundError:
            _make_folders(ftp, posixpath.dirname(path))
            return ftp.open(path, "wbx")

    def remove(self, keys: Collection[str]) -> None:
        """Remove files, and the folders that are empty then."""
        for key in keys:
            self._call(partial(self._remove, key))

    def _remove(self, key: str, ftp: paramiko.SFTPClient) -> None:
        with suppress(FileNotFoundError):
            ftp.remove(self._path(key))
        while key := key.rpartition("/")[0]:
            try:
                ftp.rmdir(self._path(key))
            except OSError:  # not empty, or removed already
                return

    def abort_uploads(self) -> None:
        """Remove files that are not whole."""
        folders = [""]
        while folders:
            folder = folders.pop()
            for entry in self._list_folder(folder):
                key = f"{folder}/{entry.filename}" if folder else entry.filename
                if stat.S_ISDIR(entry.st_mode or 0):
                    folders.append(key)
                elif entry.filename.startswith(_TEMPORARY):
                    self._call(partial(self._remove, key))

    def _list_folder(self, folder: str) -> Sequence[paramiko.SFTPAttributes]:
        entries = self._call(partial(_list_folder, self._path(folder)))
        return sorted(entries, key=lambda entry: str(entry.filename))

    def _find(self, ftp: paramiko.SFTPClient, key: str) -> ObjectInfo | None:
        try:
            return _describe(key, ftp.stat(self._path(key)))
        except FileNotFoundError:
            return None

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}".rstrip("/") or "/"

    def _make_exists(self, key: str) -> ObjectExists:
        return ObjectExists(f"{self.location.child(key)} exists already, and another process has written it")

    def _call(self, request: Callable[[paramiko.SFTPClient], T], guard: Callable[[], None] = lambda: None) -> T:
        """Return the result of ``request`` with the connection of this thread; connect again if it broke."""

        def attempt() -> T:
            try:
                return request(self._connect())
            except (EOFError, paramiko.SSHException, ConnectionError, TimeoutError) as error:
                self._disconnect()
                raise Transient(f"no answer ({type(error).__name__})") from error
            except PermissionError as error:
                raise StoreError(f"{self.location}: permission denied on the server; check the path") from error
            except OSError as error:
                if error.errno in {errno.ENOENT, None}:
                    given = str(error) or type(error).__name__
                    raise StoreError(
                        f"{self.location}: the server refused a request ({given}); check the path"
                    ) from error
                self._disconnect()
                raise Transient(f"no answer ({error.strerror})") from error

        return self.retry(attempt, guard)

    def _connect(self) -> paramiko.SFTPClient:
        ftp: paramiko.SFTPClient | None = getattr(self._own, "ftp", None)
        if ftp is None:
            self._own.client = self._open_client()
            ftp = self._own.client.open_sftp()
            channel = ftp.get_channel()
            if channel is not None:
                channel.settimeout(_ANSWER_SECONDS)
            self._own.ftp = ftp
        return ftp

    def _disconnect(self) -> None:
        if client := getattr(self._own, "client", None):
            client.close()
        self._own.ftp = self._own.client = None

    def _open_client(self) -> paramiko.SSHClient:
        """Connect as ssh would: with the user's configuration, known hosts, keys and agent."""
        user, _, address = self.location.host.rpartition("@")
        host, _, port = address.partition(":")
        settings = _read_settings(host)
        client = paramiko.SSHClient()
        client.load_system_host_keys()
        known = settings.get("userknownhostsfile", "")
        with suppress(OSError):
            client.load_host_keys(str(Path(known.split()[0]).expanduser())) if known else None
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        try:
            client.connect(
                settings.get("hostname", host),
                int(port or settings.get("port", 22)),
                user or settings.get("user"),
                key_filename=[str(Path(name).expanduser()) for name in settings.get("identityfile", [])] or None,
                timeout=_CONNECT_SECONDS,
                banner_timeout=_CONNECT_SECONDS,
                auth_timeout=_CONNECT_SECONDS,
            )
        except paramiko.BadHostKeyException as error:
            raise StoreError(f"{self.location}: the key of {host} has changed; check it, and known_hosts") from error
        except paramiko.SSHException as error:
            if refusal := self._explain_refusal(host, error):
                raise refusal from error
            raise
        return client

    def _explain_refusal(self, host: str, error: paramiko.SSHException) -> StoreError | None:
        """Return the error if the server, or the user's settings, refuse the connection; None if it just failed."""
        if isinstance(error, paramiko.AuthenticationException) or "No authentication methods" in str(error):
            return StoreError(f"{self.location}: {host} accepts no key of this user; check that ssh needs no password")
        if "known_hosts" in str(error):
            advice = f"connect once with ssh, or add it with ssh-keyscan {host}"
            return StoreError(f"{self.location}: {host} is not in known_hosts; {advice}")
        return None


def _read_settings(host: str) -> dict[str, Any]:
    """Return the settings of a host in ``~/.ssh/config``."""
    path = Path("~/.ssh/config").expanduser()
    return dict(paramiko.SSHConfig.from_path(str(path)).lookup(host)) if path.is_file() else {}


def _list_folder(path: str, ftp: paramiko.SFTPClient) -> list[paramiko.SFTPAttributes]:
    try:
        return list(ftp.listdir_attr(path))
    except FileNotFoundError:
        return []


def _make_folders(ftp: paramiko.SFTPClient, path: str) -> None:
    parts = path.strip("/").split("/")
    for count in range(1, len(parts) + 1):
        with suppress(OSError):  # it exists; if not, the file that follows cannot be made, which tells why
            ftp.mkdir("/" + "/".join(parts[:count]))


def _check_size(ftp: paramiko.SFTPClient, path: str, size_bytes: int) -> None:
    if ftp.stat(path).st_size != size_bytes:
        raise Transient("not all bytes arrived")


def _rename_new(ftp: paramiko.SFTPClient, source: str, target: str, exists: ObjectExists) -> None:
    """Rename a file. Raises ``exists`` if the new name exists; OpenSSH checks this itself when it renames."""
    if _exists(ftp, target):
        raise exists
    try:
        ftp.rename(source, target)
    except OSError as error:  # the protocol has no code for it
        if _exists(ftp, target):
            raise exists from error
        raise


def _exists(ftp: paramiko.SFTPClient, path: str) -> bool:
    try:
        ftp.stat(path)
    except FileNotFoundError:
        return False
    return True


def _describe(key: str, status: paramiko.SFTPAttributes) -> ObjectInfo:
    size, modified = status.st_size or 0, status.st_mtime or 0
    return ObjectInfo(key, size, f"{modified}-{size}", float(modified))

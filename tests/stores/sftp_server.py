"""An SFTP server on loopback that serves one folder: paramiko's server with the rules of OpenSSH's for renames."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko


class _Server(paramiko.ServerInterface):
    """Accepts one user with one key."""

    def __init__(self, key: paramiko.PKey) -> None:
        self._key = key

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL if key == self._key else paramiko.AUTH_FAILED


class _Folder(paramiko.SFTPServerInterface):
    """The files below ``root``."""

    root = Path()

    def _find(self, path: str) -> str:
        return str(self.root) + self.canonicalize(path)

    def _answer(self, call: Any, *arguments: Any) -> Any:
        try:
            call(*arguments)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        return paramiko.SFTP_OK

    def list_folder(self, path: str) -> Any:
        try:
            folder = Path(self._find(path))
            return [paramiko.SFTPAttributes.from_stat(each.stat(), each.name) for each in folder.iterdir()]
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(Path(self._find(path)).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    lstat = stat

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> Any:
        try:
            descriptor = os.open(self._find(path), flags, 0o644)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        mode = "wb" if flags & os.O_WRONLY else "rb"
        stream = os.fdopen(descriptor, mode)
        handle = paramiko.SFTPHandle(flags)
        handle.filename = self._find(path)
        handle.readfile = handle.writefile = stream  # type: ignore[attr-defined]
        handle.stat = lambda: paramiko.SFTPAttributes.from_stat(os.fstat(stream.fileno()))  # type: ignore[method-assign]
        return handle

    def remove(self, path: str) -> int:
        return int(self._answer(os.unlink, self._find(path)))

    def rename(self, oldpath: str, newpath: str) -> int:
        old, new = self._find(oldpath), self._find(newpath)
        if (code := self._answer(os.link, old, new)) != paramiko.SFTP_OK:  # fails if the name exists, as OpenSSH's
            return int(code)
        return int(self._answer(os.unlink, old))

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        return int(self._answer(os.replace, self._find(oldpath), self._find(newpath)))

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        return int(self._answer(os.mkdir, self._find(path)))

    def rmdir(self, path: str) -> int:
        return int(self._answer(os.rmdir, self._find(path)))


@contextlib.contextmanager
def run_sftp_server(root: Path, home: Path) -> Iterator[str]:
    """Serve ``root`` in threads; yield its address. Writes the key and known hosts of the client to ``home``."""
    host_key, user_key = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    ssh = home / ".ssh"
    ssh.mkdir(parents=True)
    user_key.write_private_key_file(str(ssh / "id_ecdsa"))
    line = f"[127.0.0.1]:{port} {host_key.get_name()} {host_key.get_base64()}\n"
    (ssh / "known_hosts").write_text(line)
    folder = type("Folder", (_Folder,), {"root": root})
    transports: list[paramiko.Transport] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                transport = paramiko.Transport(connection)
                transport.add_server_key(host_key)
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, folder)
                with contextlib.suppress(paramiko.SSHException, EOFError):
                    transport.start_server(server=_Server(user_key))
                    transports.append(transport)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"sftp://user@127.0.0.1:{port}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for transport in transports:
            transport.close()

"""Inputs in stores: local folders of placeholders, which flows scan like folders of files.

A mirror has a placeholder for each object below a location: a sparse file with its size and time that says what it is.
So all rules for input folders apply. An input of an item that is a placeholder is known by the ETag of its object, and
is downloaded before the item starts.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.manifest import shorten
from tasks.engine.contract.placeholders import forget_filler, register_filler
from tasks.stores.base import ObjectInfo, ObjectStore
from tasks.stores.location import Location
from tasks.stores.opening import open_store

_STATE_FOLDER = ".headrace"
_MAX_SHOWN = 3


@dataclass(frozen=True)
class InputObject:
    """One object of an input. ``place``: its path in the input if that is a folder; empty if it is the object."""

    place: str
    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True)
class RemoteInput:
    """One input of an item that is in a store: its local path, the URL of the store, and its objects."""

    path: str
    url: str
    objects: tuple[InputObject, ...]

    @property
    def size_bytes(self) -> int:
        """The size of all objects."""
        return sum(each.size_bytes for each in self.objects)


class Mirror:
    """The placeholders in ``root`` for the objects below ``location``."""

    def __init__(self, root: Path, location: Location, objects: dict[str, ObjectInfo], store: ObjectStore) -> None:
        self.root = root
        self.location = location
        self._objects = objects
        self._store = store
        self._filled: set[str] = set()
        self._lock = threading.Lock()

    def fill(self, path: str) -> None:
        """Write the content of one placeholder."""
        with self._lock:
            if path in self._objects and path not in self._filled:
                self._store.download(self._objects[path], self.root / path)
                self._filled.add(path)

    def find_input(self, path: str, relative: str) -> RemoteInput | None:
        """Return the input at ``path``, which is ``relative`` to the root; None if there is no such object."""
        if info := self._objects.get(relative):
            return RemoteInput(path, self._store.location.url, (_describe("", info),))
        prefix = f"{relative}/" if relative else ""
        found = [
            _describe(key.removeprefix(prefix), info)
            for key, info in sorted(self._objects.items())
            if key.startswith(prefix)
        ]
        return RemoteInput(path, self._store.location.url, tuple(found)) if found else None


def _describe(place: str, info: ObjectInfo) -> InputObject:
    return InputObject(place, info.key, info.size_bytes, info.etag)


def make_mirror(folder: Path, location: Location, single: bool = False) -> tuple[Mirror, Path]:
    """Make placeholders in ``folder`` for ``location``; return them, and the path that stands for it.

    single  the location is one object, and others beside it do not matter

    Raises InvalidInput if there is nothing, or if the names of objects cannot be those of files.
    """
    store = open_store(location)
    objects = {} if single else {info.key: info for info in store.list() if info.key}
    if objects:
        root = folder / location.name
        return _write_mirror(root, location, objects, store), root
    info = store.find("") if location.path else None
    if info is None:
        given = f"{shorten(location.url)} does not exist, or is empty"
        raise InvalidInput([Problem(location.url, given, "an object, or the prefix of objects", "check the URL")])
    parent = open_store(location.parent)
    key = location.name
    root = folder / location.parent.name
    found = {key: ObjectInfo(key, info.size_bytes, info.etag, info.modified)}
    return _write_mirror(root, location.parent, found, parent), root / key


def _write_mirror(root: Path, location: Location, objects: dict[str, ObjectInfo], store: ObjectStore) -> Mirror:
    _check_names(location, objects)
    outputs = {key.partition(f"{_STATE_FOLDER}/")[0] for key in objects if f"/{_STATE_FOLDER}/" in f"/{key}"}
    root.mkdir(parents=True)
    try:
        for key in outputs:  # marks output folders of runs
            (root / key / _STATE_FOLDER).mkdir(parents=True, exist_ok=True)
        for key, info in objects.items():
            if f"/{_STATE_FOLDER}/" not in f"/{key}":
                _write_placeholder(root / key, location.child(key), info)
    except OSError as error:
        given = f"the name of an object cannot be that of a file ({error.strerror})"
        raise InvalidInput([Problem(location.url, given, "names that are paths of files", "rename it")]) from error
    own = {key: info for key, info in objects.items() if f"/{_STATE_FOLDER}/" not in f"/{key}"}
    mirror = Mirror(root, location, own, store)
    _mirrors[f"{root}{os.sep}"] = mirror
    register_filler(root, mirror.fill)
    return mirror


def _check_names(location: Location, objects: dict[str, ObjectInfo]) -> None:
    """Raise InvalidInput if a key cannot be the path of a file next to the others."""
    wrong = [key for key in objects if any(part in {"", ".", ".."} for part in key.split("/")) or "\0" in key]
    wrong += [key for key in objects if any(parent in objects for parent in _list_parents(key))]
    if wrong:
        named = ", ".join(map(shorten, wrong[:_MAX_SHOWN])) + (", ..." if len(wrong) > _MAX_SHOWN else "")
        advice = "rename them: no empty part, no dots, no object with the name of a folder of others"
        raise InvalidInput([Problem(location.url, f"objects named {named}", "names that are paths of files", advice)])


def _list_parents(key: str) -> Iterator[str]:
    while key := key.rpartition("/")[0]:
        yield key


def _write_placeholder(path: Path, location: Location, info: ObjectInfo) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"This file stands for {location}, which was not downloaded.\n".encode()
    with path.open("xb") as stream:
        stream.write(text[: info.size_bytes])
        stream.truncate(info.size_bytes)
    os.utime(path, (info.modified, info.modified))


def forget_mirror(mirror: Mirror) -> None:
    """Forget the placeholders of a mirror, which are removed."""
    _mirrors.pop(f"{mirror.root}{os.sep}", None)
    forget_filler(mirror.root)


_mirrors: dict[str, Mirror] = {}


def find_remote_input(path: str) -> RemoteInput | None:
    """Return the input at ``path`` if it is in a store; None for a local file."""
    for root, mirror in _mirrors.items():
        if path.startswith(root):
            return mirror.find_input(path, path.removeprefix(root))
        if path == root.rstrip(os.sep):
            return mirror.find_input(path, "")
    return None


def find_remote_inputs(paths: Sequence[str]) -> tuple[RemoteInput, ...]:
    """Return those of the inputs that are in a store."""
    if not _mirrors:
        return ()
    return tuple(found for path in paths if (found := find_remote_input(path)))


def identify_remote_input(remote: RemoteInput) -> list[Any]:
    """Return the identity of an input in a store: the sizes and ETags of its objects, with their places."""
    if len(remote.objects) == 1 and not remote.objects[0].place:
        return ["object", remote.objects[0].size_bytes, remote.objects[0].etag]
    return ["objects", *([each.place, each.size_bytes, each.etag] for each in remote.objects)]


def has_mirrors() -> bool:
    """Return True if inputs of this process are in a store."""
    return bool(_mirrors)


def show_locations(text: str) -> str:
    """Return ``text`` with the local paths of placeholders replaced by URLs."""
    for root, mirror in _mirrors.items():
        text = text.replace(root, f"{mirror.location.url}/").replace(root.rstrip(os.sep), mirror.location.url)
    return text

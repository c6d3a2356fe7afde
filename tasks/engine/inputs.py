"""Read inputs from stores: replace the locations among a flow's parameters by local placeholders."""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.paths import TEXT_PARAMETERS, find_location_problem
from tasks.engine.running.scratch import get_work_folder, probe_scratch
from tasks.engine.store.mirrors import forget_mirror, make_mirror, show_locations
from tasks.stores.location import get_local_path, is_location, parse_location

_OUTPUT = "output_dir"
_TABLES = frozenset({".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"})
_WEB = frozenset({"http", "https"})


class InputMirrors:
    """The placeholders of a run's inputs. Close it when the run is over."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._folder: Path | None = None
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove all placeholders."""
        self._stack.close()

    def keep_until_exit(self) -> None:
        """Keep the placeholders until :meth:`close`, at the latest until this process ends."""
        atexit.register(self.close)

    def localize(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``parameters`` with local paths in place of URLs of stores.

        Raises InvalidInput for URLs that cannot be used, and StoreError if a store cannot be read.
        """
        return {name: self._localize(name, value) for name, value in parameters.items()}

    def _localize(self, name: str, value: Any) -> Any:
        is_text = isinstance(value, str) and name in TEXT_PARAMETERS
        if not (is_text or isinstance(value, Path)) or not is_location(value):
            return value
        option = f"--{name.replace('_', '-')}"
        if problem := find_location_problem(option, str(value), writable=name == _OUTPUT):
            raise InvalidInput([problem])
        kind = type(value) if is_text else Path
        if path := get_local_path(value):
            return kind(path)
        location = parse_location(value)
        if name == _OUTPUT:
            return get_work_folder(location.url)
        if is_text and name == "input" and location.scheme in _WEB:
            return value  # the flow downloads it as an item
        try:
            return kind(self._mirror(option, name, str(value)))
        except InvalidInput as error:
            raise InvalidInput([replace(each, where=option) for each in error.problems]) from error

    def _mirror(self, option: str, name: str, given: str) -> Path:
        """Return the placeholder of a location. Tables are read at once, and the files next to them can be found."""
        location = parse_location(given)
        folder = self._make_folder()
        is_table = Path(location.name).suffix.lower() in _TABLES
        if is_table and location.path and location.scheme not in _WEB:
            mirror, root = make_mirror(folder, location.parent)
            self._stack.callback(forget_mirror, mirror)
            path = root / location.name
            if path.is_file():
                mirror.fill(location.name)
                return path
            given = f"{location.url} does not exist"
            raise InvalidInput([Problem(option, given, "an object", "check the URL")])
        mirror, path = make_mirror(folder, location)
        self._stack.callback(forget_mirror, mirror)
        if path.is_file() and name != "input":
            mirror.fill(path.name)
        return path

    def _make_folder(self) -> Path:
        if self._folder is None:
            self._folder = self._stack.enter_context(probe_scratch())
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        return folder


def show_problems(error: InvalidInput) -> InvalidInput:
    """Return ``error`` with URLs in place of the paths of placeholders."""
    return InvalidInput(
        [
            Problem(*(show_locations(text) for text in (each.where, each.given, each.allowed, each.advice)))
            for each in error.problems
        ]
    )

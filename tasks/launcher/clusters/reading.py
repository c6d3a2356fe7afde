"""Read a cluster file; report everything that is wrong with it together."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from tasks.engine.contract.bounded import read_at_most
from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.execution import Execution
from tasks.launcher.clusters.settings import TYPES, AddressSettings, AnySettings, ClusterSettings, TlsSettings

_MAX_BYTES = 2**20
_ALLOWED = {
    "missing": "a value",
    "bool_type": "true or false",
    "byte_size": 'a size with a unit, such as "16GiB"',
    "byte_size_unit": 'a size with a unit, such as "16GiB"',
    "dict_type": "a table",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a text in quotes",
    "tuple_type": "a list",
}
_PATTERNS = {
    "address": "tcp://HOST:PORT or tls://HOST:PORT",
    "class": 'a dotted name such as "dask_cloudprovider.aws.FargateCluster"',
}


def read_cluster(execution: Execution) -> AnySettings | None:
    """Return the cluster that the options name; None for this process. Raises InvalidInput with all problems."""
    if execution.cluster is None:
        address = (execution.scheduler or "").strip()
        if not address:
            return None
        address = address if "://" in address else f"tcp://{address}"
        return AddressSettings.model_construct(type="address", address=address)
    if execution.scheduler:
        raise InvalidInput([Problem("--scheduler", "given with --cluster", "one of them", "leave one of them out")])
    return read_cluster_file(execution.cluster)


def read_cluster_file(path: Path) -> AnySettings:
    """Return the settings in a cluster file. Raises InvalidInput with everything that is wrong."""
    content = _read_toml(path)
    kind = content.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        advice = _suggest(kind, TYPES) if isinstance(kind, str) else "see deployments/clusters/"
        given = "missing" if kind is None else repr(kind)
        raise InvalidInput([Problem(f"{path}: type", given, ", ".join(TYPES), advice or "see deployments/clusters/")])
    model = TYPES[kind]
    try:
        return _resolve(path, cast("AnySettings", model.model_validate(content)))
    except ValidationError as error:
        raise InvalidInput([_describe(path, model, detail) for detail in error.errors()]) from None


def _resolve(path: Path, settings: AnySettings) -> AnySettings:
    """Return the settings with paths relative to the folder of the cluster file made absolute."""
    if not isinstance(settings, TlsSettings) or settings.tls is None:
        return settings
    return settings.model_copy(update={"tls": str(path.absolute().parent / Path(settings.tls).expanduser())})


def _read_toml(path: Path) -> dict[str, Any]:
    allowed, advice = "a cluster file in TOML", "see deployments/clusters/ for examples"
    try:
        return tomllib.loads(read_at_most(path, _MAX_BYTES).decode())
    except OSError as error:
        given = f"{path}: {error.strerror or error}"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        given = f"{path}: {error}"
    raise InvalidInput([Problem("--cluster", given, allowed, advice)]) from None


def _describe(path: Path, model: type[ClusterSettings], detail: Mapping[str, Any]) -> Problem:
    """Return one problem that Pydantic has found."""
    place = ".".join(str(part) for part in detail["loc"])
    where = f"{path}: {place}" if place else str(path)
    names = [field.alias or name for name, field in model.model_fields.items()]
    kind, message = detail["type"], detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if kind == "extra_forbidden":
        return Problem(
            where, "no such setting", f"the settings of this type: {', '.join(names)}", _suggest(place, names)
        )
    if kind == "missing":
        return Problem(where, "missing", "a value", "see deployments/clusters/")
    allowed = _ALLOWED.get(kind, message)
    if kind == "string_pattern_mismatch":
        allowed = _PATTERNS.get(place, "a text without special characters")
    given = repr(detail["input"]) if place else message
    return Problem(where, given, allowed if place else "settings that fit together", "see docs/clusters.md")


def _suggest(given: str, names: Iterable[str]) -> str:
    similar = difflib.get_close_matches(given, list(names), n=1)
    return f"did you mean {similar[0]}?" if similar else "see docs/clusters.md"

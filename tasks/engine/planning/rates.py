"""Measure how long items take per cost, and how many items follow from others; keep both for later predictions."""

from __future__ import annotations

import fcntl
import math
import os
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from tasks.engine.contract.cache_folder import get_default_cache
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage
from tasks.engine.planning.identity import describe_params, hash_short
from tasks.engine.store.outcomes import Usage

MIN_COST = 1e-6  # an empty file has no cost, but its turn takes time
_MAX_SAMPLES = 256
_MAX_ENTRIES = 200  # in the file
_MAX_RUNS = 5  # of one stage with the same parameters
_MAX_FILE_BYTES = 2**20
_MIN_SPREAD = 0.1  # runs on the same machine differ at least by this share
_SINGLE_FACTOR = 2.0  # between the measurement of a single item and the range for others

Figure = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Rate:
    """The resources of items of a stage per cost; ``low`` and ``high`` limit ``seconds``."""

    items: Annotated[int, Field(ge=1)]
    seconds: Figure
    low: Figure
    high: Figure
    size_bytes: Figure
    memory_bytes: Figure


class Samples:
    """The resources of finished items: exact sums, and a bounded sample, evenly spread."""

    def __init__(self) -> None:
        self.count = 0
        self.cost = self.seconds = 0.0
        self.size_bytes = self.memory_bytes = 0
        self._slow_rate = (0, 0.0)  # with the number of items that it was computed from
        self._kept: list[tuple[float, float]] = []
        self._stride = 1

    def add(self, cost: float, usage: Usage, size_bytes: int) -> None:
        """Add a finished item."""
        if self.count % self._stride == 0:
            self._kept.append((cost, usage.seconds))
            if len(self._kept) >= _MAX_SAMPLES:
                self._kept, self._stride = self._kept[::2], self._stride * 2
        self.count += 1
        self.cost += cost
        self.seconds += usage.seconds
        self.size_bytes += size_bytes
        self.memory_bytes = max(self.memory_bytes, usage.peak_memory_bytes)

    def compute_slow_rate(self) -> float:
        """Return the seconds per cost of the slowest item; 0 if none has finished.

        Items of less than the mean cost count as if they had it: their fixed costs say nothing about others.
        """
        if self._slow_rate[0] != self.count:
            mean = self.cost / self.count
            self._slow_rate = self.count, max(seconds / max(cost, mean) for cost, seconds in self._kept)
        return self._slow_rate[1]

    def compute_rate(self) -> Rate | None:
        """Return the rate; None if no item has finished.

        The range is two standard errors of the ratio of sums (W. G. Cochran, Sampling Techniques, chapter 6).
        """
        if not self.count:
            return None
        rate = self.seconds / self.cost
        low, high = rate / _SINGLE_FACTOR, rate * _SINGLE_FACTOR
        if (count := len(self._kept)) > 1:
            squares = sum((seconds - rate * cost) ** 2 for cost, seconds in self._kept)
            error = math.sqrt(squares * count / (count - 1)) / sum(cost for cost, _ in self._kept)
            spread = max(2 * error, _MIN_SPREAD * rate)
            low, high = max(rate - spread, rate / 3), rate + spread
        return Rate(self.count, rate, low, high, self.size_bytes / self.cost, self.memory_bytes)


@dataclass
class Growth:
    """The items that were made from items of another stage: their number and cost, and those of their sources."""

    sources: Annotated[int, Field(ge=0)] = 0
    source_cost: Figure = 0.0
    items: Annotated[int, Field(ge=0)] = 0
    cost: Figure = 0.0

    def add(self, items: Iterable[Item], sources: int, source_cost: float) -> None:
        """Add the items that were made from ``sources`` items."""
        costs = [max(item.cost, MIN_COST) for item in items]
        self.sources += sources
        self.source_cost += source_cost
        self.items += len(costs)
        self.cost += sum(costs)


@dataclass(frozen=True)
class StageRates:
    """The measurements of one stage in one run. ``stage`` identifies its class and version."""

    stage: Annotated[str, Field(max_length=500)]
    params: Annotated[str, Field(max_length=64)]
    measured_at: Figure
    rate: Rate
    growth: Growth = field(default_factory=Growth)


_FILE = TypeAdapter(list[StageRates])


def name_stage(stage: Stage) -> str:
    """Return a name that identifies the class and the version of a stage: names of stages are used by several flows."""
    return f"{type(stage).__module__}.{type(stage).__qualname__}:{stage.name}@{stage.version}"


def hash_params(stage: Stage) -> str:
    """Return a digest of the stage's parameters and models."""
    return hash_short(describe_params(stage))


def find_rates_file(environment: Mapping[str, str]) -> Path | None:
    """Return the file of the measurements of earlier runs: ``$HEADRACE_RATES``, which may be empty for none."""
    given = environment.get("HEADRACE_RATES")
    if given is None:
        return get_default_cache(environment, "rates.json")
    return Path(given).expanduser().absolute() if given else None


def read_rates(path: Path | None) -> list[StageRates]:
    """Return the measurements in ``path``, oldest first; none if the file is missing, damaged or too large."""
    if path is None:
        return []
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_FILE_BYTES + 1)
        return _FILE.validate_json(content) if len(content) <= _MAX_FILE_BYTES else []
    except (OSError, ValidationError):
        return []


def add_rates(path: Path | None, measured: Sequence[StageRates]) -> None:
    """Add the measurements of a run to ``path``. Does nothing if the file cannot be written: only predictions need it.

    Other runs may write it at the same time. The file keeps the latest measurements only.
    """
    if path is None or not measured:
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _replace(path, _select_latest([*read_rates(path), *measured]))
        finally:
            os.close(lock)


def _replace(path: Path, rates: list[StageRates]) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        temporary.write_bytes(_FILE.dump_json(rates))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _select_latest(rates: Sequence[StageRates]) -> list[StageRates]:
    kept: list[StageRates] = []
    runs: dict[tuple[str, str], int] = {}
    for measured in reversed(rates):
        key = measured.stage, measured.params
        runs[key] = runs.get(key, 0) + 1
        if runs[key] <= _MAX_RUNS:
            kept.append(measured)
    return kept[:_MAX_ENTRIES][::-1]


def describe_stage(stage: Stage, samples: Samples, growth: Growth) -> StageRates | None:
    """Return the measurements of a stage in this run; None if no item has finished."""
    rate = samples.compute_rate()
    return StageRates(name_stage(stage), hash_params(stage), time.time(), rate, growth) if rate else None


def choose_rates(stage: Stage, rates: Sequence[StageRates]) -> StageRates | None:
    """Return the typical measurement of ``stage``: of runs with its parameters, otherwise of runs with others."""
    own = [measured for measured in rates if measured.stage == name_stage(stage)]
    same = [measured for measured in own if measured.params == hash_params(stage)]
    if not (chosen := (same or own)[-_MAX_RUNS:]):
        return None
    each = [measured.rate for measured in chosen]
    widen = 1.0 if same else _SINGLE_FACTOR
    rate = Rate(
        items=sum(rate.items for rate in each),
        seconds=median(rate.seconds for rate in each),
        low=min(rate.low for rate in each) / widen,
        high=max(rate.high for rate in each) * widen,
        size_bytes=median(rate.size_bytes for rate in each),
        memory_bytes=max(rate.memory_bytes for rate in each),
    )
    growth = next((measured.growth for measured in reversed(chosen) if measured.growth.sources), Growth())
    last = chosen[-1]
    return StageRates(last.stage, last.params, last.measured_at, rate, growth)

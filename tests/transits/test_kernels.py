"""Compiled kernels: compiled once per machine by any number of concurrent children, wherever numba may write."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.running import starting
from tasks.transits import kernels
from tasks.transits.params import TransitParams
from tasks.transits.stage import StarsStage
from tests.engine.processes import child_environment

ROOT = Path(__file__).resolve().parents[2]

# Only our own kernels use the given folder. Those of TLS and wotan keep their cache, so that a cold start takes a
# second instead of a minute.
PROGRAM = """
import json, sys
import numba
import wotan, transitleastsquares, transitleastsquares.core_fused, transitleastsquares.backends.fused
numba.config.CACHE_DIR = sys.argv[1]
from tasks.transits import kernels
from tasks.transits.searching import boxes
print("ready", flush=True)
sys.stdin.readline()
kernels.compile_once()
stats = boxes._scan.stats
print(json.dumps({"compiled": sum(stats.cache_misses.values()), "loaded": sum(stats.cache_hits.values())}))
"""


def start_child(program: str, *arguments: Path, cache_home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache_home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=ROOT)


def read_result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the last line that the child prints after a line on its standard input releases it."""
    out, err = process.communicate("\n", timeout=240)
    assert process.returncode == 0, err
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def test_one_of_two_concurrent_children_compiles_and_the_other_loads(tmp_path: Path) -> None:
    cold = tmp_path / "numba"
    children = [start_child(PROGRAM, cold, cache_home=tmp_path / "cache") for _ in range(2)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:  # release all before waiting for any
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    results = sorted((read_result(child) for child in children), key=lambda result: result["compiled"])
    assert results == [{"compiled": 0, "loaded": 1}, {"compiled": 1, "loaded": 0}]
    assert len(list(cold.rglob("*.nbi"))) == 1
    assert len(list(cold.rglob("*.nbc"))) == 1


def test_no_code_is_compiled_before_the_lock_is_held() -> None:
    """transitleastsquares compiles some of its functions when it is imported."""
    program = (
        "import sys, tasks.transits.stage, tasks.transits.kernels; print(sorted({'numba', 'wotan'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"


# After warming: searches in every way, of curves of every kind. Prints which kernels were still missing.
SEARCHES = """
import gc, json, sys
from dataclasses import replace
import numpy as np
from numba.core.registry import CPUDispatcher
from tasks.transits.kernels import compile_once
from tasks.transits.light_curve import LightCurve
from tasks.transits.params import TransitParams
from tasks.transits.preparation import prepare
from tasks.transits.searching import search
from tests.transits.synthetic import Planet, make_times, simulate_light_curve

def kernels():
    found = [one for one in gc.get_objects() if type(one) is CPUDispatcher]
    return {f"{one.py_func.__module__}.{one.py_func.__name__}{types}" for one in found for types in one.overloads}

compile_once()
before = kernels()
half_hour = make_times(cadence_days=1 / 48)
cases = [
    (make_times(gaps=[(10, 12)]), {}),
    (half_hour, {"tls_scope": "full", "max_period": 4.0}),
    (half_hour, {"run_bls": False, "max_period": 4.0}),
    (half_hour, {"detrend": "none"}),
    (np.sort(np.random.default_rng(0).uniform(0.0, 27.0, 2_000)), {"max_planets": 1}),
    (make_times(20.0, 1 / 3), {}),
]
candidates = 0
for time, choice in cases:
    params = TransitParams(**choice)
    curve = simulate_light_curve(time, [Planet(radius_ratio=0.05)], noise_ppm=300.0)
    curve = replace(curve, noise=curve.noise * np.linspace(0.5, 1.5, len(time)))
    candidates += len(search(curve, params).candidates)
    raw = LightCurve(curve.time, curve.flux, curve.noise, curve.segment, curve.segments, curve.star)
    candidates += len(search(prepare(raw, params), params).candidates)
print(json.dumps({"candidates": candidates, "warmed": len(before), "missing": sorted(kernels() - before)}))
"""


def test_kernels_are_compiled_without_a_writable_cache_or_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file stands where the folders should be: root may write anywhere else."""
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(blocked))
    result = read_result(start_child(SEARCHES, cache_home=blocked))
    assert result["missing"] == []
    assert result["warmed"] > 5
    assert result["candidates"] >= 8
    assert blocked.read_bytes() == b""


def test_lock_is_held_while_compiling_and_released_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with kernels._lock_cache(), (tmp_path / "headrace/kernels.lock").open("w") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / "headrace/kernels.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_error_while_compiling_releases_the_lock_and_propagates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_error(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tasks.transits.searching.search", raise_error)
    monkeypatch.setattr(kernels, "_loaded", [])
    with pytest.raises(OSError, match="no space left"):
        kernels.compile_once()
    with (tmp_path / "headrace/kernels.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_user_without_a_home_compiles_without_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a number that no user has."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    with kernels._lock_cache():
        pass


def test_lock_that_is_a_symlink_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "headrace").mkdir()
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "headrace/kernels.lock").symlink_to(tmp_path / "victim")
    with kernels._lock_cache() as is_alone:
        assert not is_alone
    assert (tmp_path / "victim").read_text() == "mine"


def test_filesystem_without_locks_gives_each_process_its_own_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "shared"))
    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr("tasks.transits.searching.search", lambda *_: None)
    monkeypatch.setattr(kernels, "_loaded", [])
    with pytest.raises(OSError, match="cannot be locked"):  # a template would remove the cache with its first child
        StarsStage(TransitParams()).preload()
    kernels.compile_once()
    assert Path(os.environ["NUMBA_CACHE_DIR"]).name.startswith("headrace-kernels-")


def test_stage_is_preloaded_without_a_thread_and_children_load_nothing_more() -> None:
    code = """
import sys
from tasks.engine.running.sibling import count_threads
from tasks.transits.params import TransitParams
from tasks.transits.stage import StarsStage
stage = StarsStage(TransitParams())
stage.preload()
assert count_threads() == 1
before = set(sys.modules)
stage.open()
assert set(sys.modules) == before
"""
    subprocess.run([sys.executable, "-c", code], env=child_environment(**starting._THREADS), check=True)


def test_sample_curve_has_the_documented_size() -> None:
    sample = kernels._make_sample_curve()
    inside = sample.time % 3.0 < 0.1
    assert len(sample.time) == 20 * 144
    assert sample.flux[~inside].mean() - sample.flux[inside].mean() == pytest.approx(1e-3, rel=0.05)

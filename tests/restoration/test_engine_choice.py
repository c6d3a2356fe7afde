"""Test the choice of engines, and the problems of unusable ones."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import pytest

from tasks.restoration.engines import choice as choosing
from tasks.restoration.engines.choice import EngineChoice, choose_engines
from tasks.restoration.engines.neural import weights
from tasks.restoration.engines.neural.engine import NeuralEngine
from tasks.restoration.engines.neural.weights import SHIPPED, Device
from tasks.restoration.engines.template import CommandTemplate
from tasks.restoration.planning import Recipe
from tasks.restoration.presets import load_presets
from tasks.restoration.request import Request, read_recipe

needs_ncnn = pytest.mark.skipif(
    importlib.util.find_spec("ncnn") is None, reason="ncnn is not installed: the extra neural"
)


def test_unused_network_is_not_checked() -> None:
    engines, problems = choose_engines({"ffmpeg"}, EngineChoice(weights="no-such-network", device="vulkan"))
    assert problems == []
    assert engines.by_name.keys() == engines.identities.keys() == {"ffmpeg"}
    assert engines.max_slots is None


@needs_ncnn
def test_network_identity_is_files_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "count_gpus", lambda: 3)
    monkeypatch.setattr(weights, "count_gpus", lambda: 3)
    engines_by_device = {}
    devices: tuple[Device, ...] = ("cpu", "vulkan")
    for device in devices:
        engines, problems = choose_engines({"ffmpeg", "neural"}, EngineChoice(device=device))
        engine = pickle.loads(pickle.dumps(engines.by_name["neural"]))
        assert problems == []
        assert isinstance(engine, NeuralEngine)
        assert (engine.weights.name, engine.device, engine.gpu_index) == ("span-x2", device, None)
        assert engines.identities["neural"].startswith(f"{SHIPPED['span-x2'].digest} {device}")
        assert engines.memory_bytes == {"neural": engine.memory_bytes}
        engines_by_device[device] = engines
    assert engines_by_device["cpu"].identities != engines_by_device["vulkan"].identities
    assert (engines_by_device["cpu"].max_slots, engines_by_device["vulkan"].max_slots) == (None, 3)


@needs_ncnn
def test_engine_options_of_the_command_line_are_used(tmp_path: Path) -> None:
    presets = load_presets()
    recipe, engines, problems = read_recipe(Request(weights="span-x4"), presets, {"neural"})
    assert problems == []
    assert isinstance(recipe, Recipe)
    assert recipe.identities["neural"].startswith(SHIPPED["span-x4"].digest)
    assert isinstance(engines.by_name["neural"], NeuralEngine)


def test_all_engine_problems_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "count_gpus", lambda: 0)
    choice = EngineChoice(CommandTemplate("cat {input}"), weights="no-such-network", device="vulkan")
    _, problems = choose_engines({"command", "neural"}, choice)
    assert [problem.where for problem in problems] == ["--command", "--device", "--weights"]
    assert "'no-such-network'" in problems[2].given
    _, (problem,) = choose_engines({"command"}, EngineChoice())
    assert str(problem).startswith("--command: none, with --engine command")

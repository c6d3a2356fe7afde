"""Test Prefect's form of each flow: titles, the order of the fields, and values that it rejects at once.

Prefect's server validates what the form and the API send by the functions that these tests use.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import is_valid_schema, validate

from tasks.engine.contract.execution import Execution

ROOT = Path(__file__).resolve().parents[2]
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
REQUIRED = {"input": "in", "output_dir": "out"}


@cache
def read_schema(flow: str) -> dict[str, Any]:
    schema: dict[str, Any] = parameter_schema(load_flow_from_entrypoint(f"flows.{flow}.{flow}")).model_dump()
    return schema


def find_errors(flow: str, **parameters: Any) -> list[str]:
    """Return the paths of the parameters that the schema of ``flow`` rejects."""
    given = {name: value for name, value in REQUIRED.items() if name in read_schema(flow)["properties"]}
    return [error.json_path for error in validate({**given, **parameters}, read_schema(flow))]


@pytest.mark.parametrize("flow", FLOWS)
def test_fields_have_titles_and_descriptions(flow: str) -> None:
    schema = read_schema(flow)
    is_valid_schema(schema)
    execution = schema["definitions"]["Execution"]["properties"]
    fields = {**{name: field for name, field in schema["properties"].items() if "$ref" not in field}, **execution}
    for name, field in fields.items():
        assert field["title"] != name
        assert field["title"][0].isupper()
        assert field["description"]
    titles = [field["title"] for field in fields.values()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("flow", FLOWS)
def test_titles_of_quantities_have_units(flow: str) -> None:
    """Test that a field whose description has a unit also has it in its title, which is next to the value."""
    schema = read_schema(flow)
    fields = [*schema["properties"].values(), *schema["definitions"]["Execution"]["properties"].values()]
    units = {"in seconds": "(s)", "in pixels": "px)", "in square pixels": "(px)", "in days": "(days)"}
    for field in fields:
        for words, unit in units.items():
            if words in field["description"]:
                assert unit in field["title"], field


@pytest.mark.parametrize("flow", FLOWS)
def test_inputs_come_first_and_execution_options_last(flow: str) -> None:
    fields = read_schema(flow)["properties"]
    assert [field["position"] for field in fields.values()] == list(range(len(fields)))
    names = list(fields)
    assert names[0] in {"input", "videos_dir", "light_curves"}
    assert names.index("output_dir") <= 3
    assert names[-1] == "execution"
    execution = read_schema(flow)["definitions"]["Execution"]["properties"]
    assert [field["position"] for field in execution.values()] == list(range(len(Execution.model_fields)))


TEXTS = [
    ("dataset_prep", "resize", ["640x360", "512"], ["banana", "640x", "0", "640x360px", ""]),
    ("dataset_prep", "every", ["10", "2s", "0.5s", ".5s"], ["banana", "0", "-1", "2 s", "1.5", ""]),
    ("dataset_prep", "fps", [0.5, 30], [0, -1, "banana", 1001]),
    ("dataset_prep", "crop", ["640x480+0+16"], ["banana", "640x480", "0x1+0+0", "1x1+-1+0"]),
    ("dataset_prep", "center_crop", ["1:1", "16:9"], ["banana", "1", "0:1", "1:0"]),
    ("dataset_prep", "pad", ["1:1"], ["black"]),
    ("dataset_prep", "license", ["cc-by-4.0", "MIT"], ["", "two words", "-x"]),
    ("dataset_prep", "shard_bytes", ["500MB", 1000], ["banana", -1]),
    (
        "dataset_prep",
        "splits",
        ["train=0.9,val=0.1", "train = 9e-1, val=.1", "", "folder"],
        ["banana", "train", "train=a"],
    ),
    ("landmark_extraction", "model", ["holistic", "models/face.task"], ["banana"]),
    ("overlay_removal", "mask", ["20,16,180x64", "masks/logo.png", "./mask"], ["banana", "20,16", "1,2,3,4"]),
    ("overlay_removal", "classes", [["logo"], []], [[""], "logo"]),
    ("overlay_removal", "command", ["paint {input} {masks} {output}"], ["banana", "paint {input} {output}"]),
    ("overlay_removal", "max_download", ["20GiB", "1.5 TB", 1000], ["banana", "20 bananas", -1]),
    ("overlay_removal", "scratch", ["100GiB"], ["banana"]),
    ("overlay_removal", "segments", ["auto", 4], ["banana", 0]),
    ("vhs_batch", "override", [["denoise_luma=1.2", "dedot=true"]], [["banana"], ["banana=1"]]),
    ("vhs_batch", "command", ["restore {input} {output}"], ["banana"]),
    ("vhs_batch", "command_results", ["", "restored_imgs"], ["/banana", "../banana"]),
    ("vhs_batch", "weights", ["span-x2", "nets/own.param"], ["banana"]),
    ("vhs_batch", "height", [720, None], ["banana", 721]),
    ("vhs_presets", "presets", ["vhs_clean", "vhs_clean,vhs_heavy"], ["", " , "]),
    ("vhs_presets", "override", [["sharpen=0.2"]], [["banana"]]),
]


@pytest.mark.parametrize(("flow", "name", "allowed", "rejected"), TEXTS, ids=[f"{row[0]}-{row[1]}" for row in TEXTS])
def test_form_rejects_texts_of_another_form(flow: str, name: str, allowed: list[Any], rejected: list[Any]) -> None:
    for value in allowed:
        assert find_errors(flow, **{name: value}) == [], value
    for value in rejected:
        assert find_errors(flow, **{name: value}), value


@pytest.mark.parametrize(
    ("name", "allowed", "rejected"),
    [
        ("memory_per_item", ["2GiB", 2**30], ["banana", "2 bananas"]),
        ("scheduler", ["tcp://10.0.0.1:8786", "host:8786", "tls://[::1]:8786"], ["banana", "tcp://host"]),
        ("part", ["2/4", None], ["banana", "0/4", "/4"]),
        ("retries", [0], [21, "banana"]),
        ("bananas", [], [1]),
    ],
)
def test_form_rejects_wrong_execution_options(name: str, allowed: list[Any], rejected: list[Any]) -> None:
    for value in allowed:
        assert find_errors("dataset_prep", execution={name: value}) == [], value
    for value in rejected:
        assert find_errors("dataset_prep", execution={name: value}), value


@pytest.mark.parametrize("flow", FLOWS)
def test_default_values_are_valid(flow: str) -> None:
    fields = read_schema(flow)["properties"]
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    assert find_errors(flow, **defaults) == []


def test_every_text_has_a_pattern_unless_any_text_is_allowed() -> None:
    free = {
        ("dataset_prep", "group_by"),  # column names
        ("exoplanet_features", "id_column"),  # a column name
        ("landmark_extraction", "split"),  # a folder's name
        ("overlay_removal", "input"),  # a path or a URL
        ("vhs_batch", "preset"),  # a name from the user's preset file
    }
    texts = {
        (flow, name)
        for flow in FLOWS
        for name, field in read_schema(flow)["properties"].items()
        for kind in (field, *field.get("anyOf", ()))
        if kind.get("type") == "string" and not {"pattern", "enum", "const", "format"} & kind.keys()
    }
    assert texts == free


@pytest.mark.parametrize("entry", DEPLOYMENTS, ids=lambda entry: f"{entry['entrypoint']}-{entry['name']}")
def test_parameters_of_deployments_match_the_signature(entry: dict[str, Any]) -> None:
    flow = load_flow_from_entrypoint(entry["entrypoint"])
    schema = read_schema(entry["entrypoint"].rpartition(".")[2])
    assert [error.message for error in validate(entry["parameters"], schema)] == []
    assert entry["parameters"].keys() <= schema["properties"].keys()
    flow.validate_parameters(entry["parameters"])


def test_patterns_are_valid_in_python_and_in_browsers() -> None:
    """ECMA 262 has no ``\\A``, ``\\Z``, inline flags or named groups in Python's syntax."""
    patterns = re.findall(r"'pattern': '((?:[^'\\]|\\.)*)'", str([read_schema(flow) for flow in FLOWS]))
    assert len(patterns) > len(TEXTS) / 2
    for pattern in patterns:
        re.compile(pattern.replace("\\\\", "\\"))
        assert not re.search(r"\\[AZ]|\(\?[PiLmsux]", pattern)

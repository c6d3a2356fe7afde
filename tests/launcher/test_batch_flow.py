"""Test that one function declares a Prefect flow, and that each command reads its inputs once."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.execution import Execution
from tasks.launcher.batch_flow import BatchFlow, Steps, batch_flow
from tasks.launcher.flow_command import read_command
from tasks.launcher.options import option_name, parse_options

ROOT = Path(__file__).resolve().parents[2]
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")


def load_flow(name: str) -> Any:
    return getattr(importlib.import_module(f"flows.{name}"), name)


@pytest.mark.parametrize("name", FLOWS)
def test_prefect_loads_the_flow_with_the_declared_parameters(name: str) -> None:
    flow = load_flow_from_entrypoint(f"flows.{name}.{name}")
    declared = load_flow(name).signature.parameters
    assert isinstance(flow, Flow)
    assert flow.name == name.replace("_", "-")
    schema = parameter_schema(flow).model_dump()
    assert list(schema["properties"]) == list(declared)
    assert all(content.get("description") for content in schema["properties"].values())
    assert set(schema["required"]) == {key for key, value in declared.items() if value.default is value.empty}


@pytest.mark.parametrize("name", FLOWS)
def test_prefect_passes_parameters_on_as_the_command_line_parses_them(name: str) -> None:
    flow = load_flow(name)
    required = [key for key, value in flow.signature.parameters.items() if value.default is value.empty]
    parameters, problems = parse_options(flow.function, [word for key in required for word in (option_name(key), "x")])
    assert problems == []
    bound = flow.signature.bind(**parameters)
    bound.apply_defaults()
    assert flow.as_prefect_flow().validate_parameters(parameters) == bound.arguments


@pytest.mark.parametrize("name", FLOWS)
def test_parameters_are_declared_once(name: str) -> None:
    """Test that no other function of the flow's module repeats the parameters."""
    tree = ast.parse((ROOT / "flows" / f"{name}.py").read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    declared = set(inspect.signature(load_flow(name).function).parameters)
    repeated = {
        node.name: declared & {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
        for node in functions
    }
    assert {key: value for key, value in repeated.items() if value} == {name: declared}


READS: list[dict[str, Any]] = []


@batch_flow("read-flow")
def read_flow(
    output_dir: Path, folder: Path, mode: str = "a", size: int = 1, execution: Execution = Execution()
) -> Steps:
    """Read a folder.

    Args:
        output_dir: Output folder
        folder: Input folder
        mode: Mode
        size: Size
        execution: Execution options
    """
    READS.append({"folder": folder, "mode": mode, "size": size})
    problems = [Problem("row 1", "empty", "a value"), Problem("--mode", f"{mode} with --size {size}", "another")]
    if folder.name == "wrong":
        raise InvalidInput(problems)

    def steps(run: Any) -> Any:
        return run

    return steps


def find_problems(*arguments: str) -> list[str]:
    READS.clear()
    with pytest.raises(InvalidInput) as caught:
        read_command(read_flow, arguments)
    return [problem.where for problem in caught.value.problems]


def test_inputs_are_read_once_per_command() -> None:
    READS.clear()
    parameters, steps = read_command(read_flow, ["--output-dir", "out", "--folder", "in", "--size", "3"])
    assert [read["size"] for read in READS] == [3]
    assert parameters == {"output_dir": Path("out"), "folder": Path("in"), "size": 3}
    assert steps("run") == "run"


def test_input_problems_that_depend_on_a_wrong_option_are_not_reported() -> None:
    assert find_problems("--folder", "wrong", "--output-dir", "out") == ["row 1", "--mode"]
    assert find_problems("--folder", "wrong", "--workers", "0") == ["--workers", "--output-dir", "row 1", "--mode"]
    assert find_problems("--folder", "wrong", "--output-dir", "out", "--size", "x") == ["--size", "row 1"]


def test_inputs_are_not_read_without_the_path_that_names_them() -> None:
    assert find_problems("--output-dir", "out") == ["--folder"]
    assert find_problems("--output-dir", "out", "--folder", "hdfs://host/folder") == ["--folder"]
    assert READS == []


def test_prefect_flow_is_pickled_without_the_inputs() -> None:
    inputs = b"0" * 1_000_000

    def steps(run: Any) -> Any:
        return inputs

    assert len(cloudpickle.dumps(read_flow.as_prefect_flow(steps))) < 100_000
    assert isinstance(cloudpickle.loads(cloudpickle.dumps(read_flow)), Flow)  # as in a deployment's worker


def test_declared_flow_keeps_its_documentation() -> None:
    assert type(read_flow) is BatchFlow
    assert read_flow.__doc__ == read_flow.function.__doc__
    assert read_flow.__name__ == "read_flow"


def test_pickled_flow_reads_its_inputs_in_another_process(tmp_path: Path) -> None:
    """Check it with a usage error: only the flow's own function raises that one."""
    pickled = tmp_path / "flow.pickle"
    pickled.write_bytes(cloudpickle.dumps(load_flow("dataset_prep").as_prefect_flow()))
    code = (
        "import sys, cloudpickle\nfrom pathlib import Path\nfrom tasks.engine.contract.errors import InvalidInput\n"
        "flow = cloudpickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "try:\n    flow.fn(output_dir=Path('out'))\nexcept InvalidInput as error:\n    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, pickled], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.startswith("--manifest, --videos-dir: neither; ")

"""Test cluster files: the shipped ones are valid, and every mistake is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.launcher.clusters.reading import read_cluster, read_cluster_file
from tasks.launcher.clusters.settings import TYPES, AddressSettings, SlurmSettings
from tests.runs.bench import ROOT

SHIPPED = sorted((ROOT / "deployments/clusters").glob("*.toml"))


def read_problems(path: Path) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read_cluster_file(path)
    return [str(problem).replace(f"{path}: ", "") for problem in caught.value.problems]


def test_each_type_has_a_file() -> None:
    assert {path.stem for path in SHIPPED} == set(TYPES)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_file_is_valid_and_shows_every_setting(path: Path) -> None:
    settings = read_cluster_file(path)
    assert settings.type == path.stem
    text = path.read_text()
    names = [field.alias or name for name, field in type(settings).model_fields.items()]
    explained = text + (ROOT / "deployments/clusters/slurm.toml").read_text() * (path.stem in ("pbs", "lsf"))
    common = {"tls", "wait_seconds"}  # slurm.toml and address.toml show them
    assert [name for name in names if name not in explained and name not in common] == []


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs/clusters.md").read_text()
    rows = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    names = {field.alias or name for model in TYPES.values() for name, field in model.model_fields.items()}
    assert sorted(name for name in names - {"type"} if f"`{name}`" not in rows) == []
    assert sorted(name for name in TYPES if f"`{name}`" not in rows) == []


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text('type = "slurm"\nmaximun = 3\nthreads = "four"\nwalltime = 3600\nminimum = -1\n')
    problems = {line.partition(": ")[0]: line.partition(": ")[2] for line in read_problems(path)}
    walltime = 'a quoted time such as "04:00:00" or "2-12:00:00" (days-hours:minutes:seconds)'
    assert problems.pop("maximun").startswith(
        "no such setting; allowed: the settings of this type: wait_seconds, tls, "
    )
    assert problems == {
        "minimum": "-1; allowed: greater than or equal to 0; see docs/clusters.md",
        "threads": "'four'; allowed: a whole number; see docs/clusters.md",
        "memory": "missing; allowed: a value; see deployments/clusters/",
        "walltime": f"3600; allowed: {walltime}; see docs/clusters.md",
    }


def test_similar_setting_is_suggested(tmp_path: Path) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text('type = "local"\nmaximun = 3\n')
    (line,) = read_problems(path)
    assert line.endswith("did you mean maximum?")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "type: missing; allowed: address, local, "),
        (
            'type = "slrum"',
            "type: 'slrum'; allowed: address, local, ssh, slurm, pbs, lsf, kubernetes, cloud; did you mean",
        ),
        ('type = "local"\nminimum = 3\n', "minimum 3 is larger than maximum 1"),
        ('type = "address"\naddress = "node1:8786"\n', "allowed: tcp://HOST:PORT or tls://HOST:PORT"),
        ('type = "local"\nscratch = "/tmp/`id`"\n', "scratch: '/tmp/`id`'; allowed: a text without special characters"),
        ('type = "cloud"\nclass = "FargateCluster"\n', "allowed: a dotted name"),
        ("type = ", "--cluster: "),
    ],
)
def test_mistake_is_reported_in_one_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    (line,) = read_problems(path)
    assert problem in line


def test_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"--cluster: .*none\.toml: No such file or directory"):
        read_cluster_file(tmp_path / "none.toml")


def test_cluster_and_scheduler_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--scheduler: given with --cluster"):
        read_cluster(Execution(cluster=tmp_path / "cluster.toml", scheduler="tcp://127.0.0.1:1"))


def test_scheduler_is_a_cluster_of_type_address() -> None:
    settings = read_cluster(Execution(scheduler="host:8786"))
    assert isinstance(settings, AddressSettings)
    assert settings.address == "tcp://host:8786"
    assert read_cluster(Execution()) is None


@pytest.mark.parametrize(("text", "seconds"), [("00:10:00", 600), ("2-01:00:00", 176_400), ("30:00", 108_000)])
def test_walltime_is_read(tmp_path: Path, text: str, seconds: int) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text(f'type = "slurm"\nmemory = "1GiB"\nwalltime = "{text}"\ntls = "certs"\n')
    settings = read_cluster_file(path)
    assert isinstance(settings, SlurmSettings)
    assert settings.walltime == seconds
    assert settings.tls == str(tmp_path / "certs")

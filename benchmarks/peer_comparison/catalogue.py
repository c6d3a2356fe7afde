"""List the peers: their packages, commands and settings."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent / "scripts"


@dataclass(frozen=True)
class Job:
    """One command of a peer: make ``items`` items in ``folder/out`` on ``slots`` processes."""

    python: Path
    items: int
    slots: int
    limit_seconds: int
    folder: Path


@dataclass(frozen=True, eq=False)
class Peer:
    """A tool of the comparison.

    Args:
        name: Its name on the command line
        title: Its name in the tables
        script: The user's code
        packages: Requirements of its environment; none means this project's environment
        build_command: Returns the command of a job
        environment: Environment variables; ``{home}`` is a private folder
        repair: Returns the command that the tool asks for after a killed run
    """

    name: str
    title: str
    script: str
    packages: tuple[str, ...]
    build_command: Callable[[Job], Sequence[str | Path]]
    environment: dict[str, str] = field(default_factory=dict)
    repair: Callable[[Job], Sequence[str | Path]] | None = None

    def count_code_lines(self) -> int:
        """Return the lines of the user's code without blank lines, comments and docstrings."""
        text = (SCRIPTS / self.script).read_text(encoding="utf-8")
        ignored = _find_docstring_lines(text) if self.script.endswith(".py") else set()
        lines = enumerate(text.splitlines(), 1)
        return sum(bool(line.strip()) and line.strip()[0] != "#" and number not in ignored for number, line in lines)


def _find_docstring_lines(text: str) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            first = node.body[0]
            lines |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def _script(name: str) -> Callable[[Job], list[str | Path]]:
    def build(job: Job) -> list[str | Path]:
        words = [str(job.items), str(job.slots), str(job.limit_seconds)]
        return [job.python, SCRIPTS / name, *words, job.folder / "out"]

    return build


def _run_headrace(job: Job) -> list[str | Path]:
    options = {"--items": job.items, "--workers": job.slots, "--timeout": job.limit_seconds, "--output-dir": job.folder}
    words = [str(word) for pair in options.items() for word in pair]
    return [job.python, SCRIPTS / "with_headrace.py", *words]


def _run_snakemake(job: Job) -> list[str | Path]:
    words = ["--cores", str(job.slots), "--keep-going", "--rerun-incomplete", "--quiet"]
    config = [f"items={job.items}", f"limit={job.limit_seconds}", f"python={job.python}", f"item={SCRIPTS / 'item.py'}"]
    return [*_start_snakemake(job), *words, "--config", *config]


def _unlock_snakemake(job: Job) -> list[str | Path]:
    return [*_run_snakemake(job), "--unlock"]


def _start_snakemake(job: Job) -> list[str | Path]:
    return [job.python, "-m", "snakemake", "--snakefile", SCRIPTS / "Snakefile", "--directory", job.folder]


PEERS = (
    Peer("pool", "multiprocessing.Pool", "with_pool.py", (), _script("with_pool.py")),
    Peer("futures", "concurrent.futures", "with_futures.py", (), _script("with_futures.py")),
    Peer(
        "joblib",
        "joblib (loky)",
        "with_joblib.py",
        ("joblib>=1.4",),
        _script("with_joblib.py"),
        {"JOBLIB_TEMP_FOLDER": "{home}"},
    ),
    Peer("dask", "Dask LocalCluster", "with_dask.py", ("dask[distributed]>=2026.3",), _script("with_dask.py")),
    Peer(
        "prefect",
        "Prefect task.map",
        "with_prefect.py",
        ("prefect>=3.8",),
        _script("with_prefect.py"),
        {
            "PREFECT_HOME": "{home}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
            "PREFECT_LOGGING_LEVEL": "ERROR",
        },
    ),
    Peer(
        "ray",
        "Ray Data, checkpoints",
        "with_ray.py",
        ("ray[data]>=2.50",),
        _script("with_ray.py"),
        {"RAY_TMPDIR": "{home}", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"},
    ),
    Peer(
        "snakemake",
        "Snakemake",
        "Snakefile",
        ("snakemake>=9",),
        _run_snakemake,
        {"XDG_CACHE_HOME": "{home}"},
        _unlock_snakemake,
    ),
    Peer("luigi", "Luigi", "with_luigi.py", ("luigi>=3.6",), _script("with_luigi.py")),
    Peer(
        "dagster",
        "Dagster dynamic job",
        "with_dagster.py",
        ("dagster>=1.12",),
        _script("with_dagster.py"),
        {"DAGSTER_HOME": "{home}", "DAGSTER_DISABLE_TELEMETRY": "yes"},
    ),
    Peer(
        "headrace",
        "**Headrace**",
        "with_headrace.py",
        (),
        _run_headrace,
        {"PREFECT_HOME": "{home}"},
    ),
)

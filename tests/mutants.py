"""Count the results of mutation tests by module: ``python -m tests.mutants`` after ``make mutants``.

Prints the table of ``docs/mutants.md`` and the names of the survivors; ``mutmut show NAME`` shows one.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

_KILLED = {1, 3, -11, -9}  # a test failed, or its process died
_TIMED_OUT = {36, 24, -24, 152, 255}
_UNTESTED = {5, 33}


def count(folder: Path) -> tuple[dict[str, Counter[str]], list[str]]:
    """Return the mutants of each module by result, and the names of the survivors."""
    modules: dict[str, Counter[str]] = {}
    survivors = []
    for path in sorted(folder.rglob("*.py.meta")):
        codes = json.loads(path.read_bytes())["exit_code_by_key"]
        if tally := Counter(_classify(code) for code in codes.values()):
            modules[path.relative_to(folder).as_posix().removesuffix(".py.meta")] = tally
            survivors += [name for name, code in codes.items() if _classify(code) in ("survived", "no test")]
    return modules, survivors


def _classify(code: int | None) -> str:
    if code is None:
        return "not checked"
    if code in _KILLED | _TIMED_OUT:
        return "killed"
    return "no test" if code in _UNTESTED else "survived"


def format_table(modules: dict[str, Counter[str]]) -> str:
    """Return the counts as Markdown. The share excludes mutants that were not checked."""
    lines = ["| module | mutants | killed | survived | no test | not checked | killed of those checked |"]
    lines.append("| --- |" + " ---: |" * 6)
    total = sum(modules.values(), Counter[str]())
    for name, tally in [*modules.items(), ("all", total)]:
        checked = tally.total() - tally["not checked"]
        share = f"{tally['killed'] / checked:.0%}" if checked else ""
        numbers = (tally.total(), *(tally[state] for state in ("killed", "survived", "no test", "not checked")), share)
        lines.append(f"| {name} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and the survivors to standard error."""
    modules, survivors = count(Path("mutants/tasks/engine"))
    print(format_table(modules))
    print(*survivors, sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()

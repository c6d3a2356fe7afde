"""Test that a skipped test fails in CI, except for reasons that no installation can remove."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPED = "import pytest\ndef test_it():\n    pytest.skip({reason!r})\n"
MODULE = "import pytest\npytest.skip({reason!r}, allow_module_level=True)\n"
EXPECTED = "import pytest\n@pytest.mark.xfail(reason={reason!r})\ndef test_it():\n    assert False\n"


@pytest.mark.parametrize(
    ("text", "reason", "in_ci", "code"),
    [
        (SKIPPED, "no Chromium", "1", 1),
        (SKIPPED, "no Chromium", "", 0),
        (SKIPPED, "shared/ is not beside the checkout; so be it", "1", 0),
        (MODULE, "no Chromium", "1", 2),  # a module that cannot be collected stops the run
        (EXPECTED, "known", "1", 0),
    ],
)
def test_skipped_tests_fail_in_ci_except_for_allowed_reasons(
    tmp_path: Path, text: str, reason: str, in_ci: str, code: int
) -> None:
    shutil.copyfile(Path(__file__).with_name("conftest.py"), tmp_path / "conftest.py")
    (tmp_path / "test_one.py").write_text(text.format(reason=reason))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    environment = {**os.environ, "HEADRACE_CI": in_ci}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ran.returncode == code, ran.stdout

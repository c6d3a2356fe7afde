"""Problems that several commands of this folder report."""

from __future__ import annotations

from tasks.engine.contract.errors import Problem

NO_SERVER = Problem(
    "PREFECT_API_URL", "not set", "the address of a Prefect server", "for example http://127.0.0.1:4200/api"
)

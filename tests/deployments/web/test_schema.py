"""Fuzz the service by its OpenAPI schema: every answer is one of the schema, and none is a server error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks, not_a_server_error

from tests.deployments.web.client import TOKENS, Web

EXAMPLES = 12
HEADERS = {"Authorization": f"Bearer {TOKENS['anna']}"}


@schemathesis.serializer("application/offset+octet-stream", "image/png")
def serialize(_: Any, value: Any) -> bytes:
    """Return a generated body, which is not always bytes."""
    data = getattr(value, "data", value)
    return data if isinstance(data, bytes) else str(data).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def operations(web: Web) -> dict[str, Any]:
    """Return the operations of the schema by method and path."""
    schema = schemathesis.openapi.from_dict(web.call("GET", "/api/openapi.json").json())
    found = [result.ok() for result in schema.get_all_operations()]
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_no_request_causes_a_server_error(web: Web, operations: dict[str, Any], mode: GenerationMode) -> None:
    assert len(operations) >= 15
    for name, operation in operations.items():
        for overrides in list_overrides(web, name):
            try:
                fuzz(operation.as_strategy(mode, **overrides), make_check(web))
            except Unsatisfiable:  # a request without parameters cannot violate the schema
                assert mode is GenerationMode.NEGATIVE, name


def list_overrides(web: Web, name: str) -> list[dict[str, Any]]:
    """Return arbitrary ids, and the id of an upload that exists."""
    if "{upload_id}" not in name:
        return [{}]
    parameters: dict[str, Any] = {"upload_id": web.create(20).json()["id"]}
    if "{number}" in name:
        parameters["number"] = 0
    return [{}, {"path_parameters": parameters}]


def make_check(web: Web) -> Callable[[Any], None]:
    session = requests.Session()
    session.trust_env = False
    load_all_checks()
    checks = [not_a_server_error, *CHECKS.get_by_names(["status_code_conformance", "response_schema_conformance"])]

    def check(case: Any) -> None:
        response = case.call(base_url=web.url, session=session, headers=HEADERS)
        case.validate_response(response, checks=checks)

    return check


def fuzz(strategy: Any, check: Callable[[Any], None]) -> None:
    """Call ``check`` with examples of ``strategy``, the same ones every time."""
    quiet = settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    quiet(given(strategy)(check))()


def test_service_still_answers_after_the_fuzzing(web: Web) -> None:
    assert web.call("GET", "/", headers={"Accept": "text/html"}).status_code == 200
    assert "Traceback" not in web.program.log.read_text()

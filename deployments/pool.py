"""The work pool of all deployments in prefect.yaml."""

from __future__ import annotations

POOL = "headrace"

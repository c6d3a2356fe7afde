"""Serve uploads: ``python -m deployments.web``. Ctrl+C ends it. See docs/upload.md for its settings."""

from __future__ import annotations

import os

from tasks.launcher.extras import check_extra
from tasks.launcher.terminal import print_line, report_errors

_MAX_RETRIES = "1"  # of a call to Prefect: a page does not wait a minute for a server that is down


def main() -> int:
    """Serve until interrupted; return the exit code."""
    return report_errors(_serve)


def _serve() -> int:
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", _MAX_RETRIES)
    import uvicorn

    from deployments.web.app import create_app
    from deployments.web.runs import check_address
    from deployments.web.settings import read_settings
    from deployments.web.store import hold_folder

    check_extra("the upload service", "video")
    settings = read_settings()
    check_address()
    with hold_folder(settings.folder):
        print_line(f"upload service: http://{settings.host}:{settings.port}")
        uvicorn.run(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            server_header=False,
            log_level="warning",
            timeout_graceful_shutdown=5,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

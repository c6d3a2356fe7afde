"""Run moto's S3 server in a process of its own: ``python tests/stores/s3_server.py [ADDRESS]`` prints its address."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BUCKET = "bucket"
# The server checks no signatures.
KEYS = {"aws_access_key_id": "key-of-a-test", "aws_secret_access_key": "secret-of-a-test"}
CREDENTIALS = {**{name.upper(): value for name, value in KEYS.items()}, "AWS_REGION": "us-east-1"}


def serve(address: str) -> None:
    """Serve until killed."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(f"http://{host}:{port}", flush=True)
    sys.stdin.read()  # ends with the process that started this one


class S3Server:
    """An S3 server that is running."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its clients."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_DISABLED": "true"}

    @property
    def client(self) -> Any:
        """A client that uses none of Headrace's code."""
        import boto3

        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", **KEYS)

    def list(self, prefix: str) -> dict[str, bytes]:
        """Return the objects below ``prefix``, by key without it."""
        client = self.client
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        bodies = {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}
        return {key.removeprefix(prefix): body for key, body in bodies.items()}

    def put(self, key: str, content: bytes | Path) -> None:
        """Write an object."""
        body = content.read_bytes() if isinstance(content, Path) else content
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)


@contextlib.contextmanager
def run_s3_server(address: str = "127.0.0.1") -> Iterator[S3Server]:
    """Run a server with one bucket, in another process."""
    process = subprocess.Popen(
        [sys.executable, __file__, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **CREDENTIALS},
    )
    try:
        assert process.stdout is not None
        server = S3Server(process.stdout.readline().strip())
        server.client.create_bucket(Bucket=BUCKET)
        yield server
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    serve(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1")

"""A local archive that imitates MAST over HTTP: search, downloads, name resolver and public bucket.

Responses have the format of those recorded for astroquery's tests (``astroquery/mast/tests/data``: ``advSearch.json``,
``products.json``, ``columnsconfig.json``, ``resolver.json``), with the columns that lightkurve reads.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

DOWNLOAD = "/api/v0.1/Download/file"
_OBSERVATION = {
    "dataproduct_type": "string",
    "calib_level": "int",
    "obs_collection": "string",
    "obs_id": "string",
    "target_name": "string",
    "s_ra": "float",
    "s_dec": "float",
    "t_min": "float",
    "t_max": "float",
    "t_exptime": "float",
    "project": "string",
    "provenance_name": "string",
    "sequence_number": "int",
    "dataURL": "string",
    "obsid": "string",
}
_PRODUCT = {
    "obsID": "string",
    "obs_collection": "string",
    "dataproduct_type": "string",
    "obs_id": "string",
    "description": "string",
    "type": "string",
    "dataURI": "string",
    "productType": "string",
    "productSubGroupDescription": "string",
    "project": "string",
    "productFilename": "string",
    "size": "int",
}
_COLUMNS = {
    name: {"text": name, "vot.datatype": "double" if kind == "float" else "char"} for name, kind in _OBSERVATION.items()
} | {"project": {"text": "Project", "vot.datatype": "char", "separator": ";"}}


class Handler(BaseHTTPRequestHandler):
    """Handler of one request. Faults are functions of it, called instead of the proper response."""

    protocol_version = "HTTP/1.1"
    archive: "Archive"

    def do_GET(self) -> None:
        self.archive.record(self)
        address = urlsplit(self.path)
        if address.path == "/Santa-war/query":
            self.json(self.archive.resolve(parse_qs(address.query)["name"][0]))
        elif address.path == DOWNLOAD:
            self.download(self.archive.files.get(parse_qs(address.query)["uri"][0]))
        else:
            self.download(self.archive.bucket.get(address.path))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.archive.record(self)
        columns = self.path.endswith("/columnsconfig")
        faults = self.archive.column_faults if columns else self.archive.search_faults
        if faults:
            faults.popleft()(self, b"")
        elif columns:
            self.json(_COLUMNS)
        else:
            request = json.loads(parse_qs(body)["request"][0])
            self.archive.searches.append(request)
            self.json(self.archive.answer(request))

    def download(self, content: bytes | None) -> None:
        with self.archive.busy:
            if self.archive.faults:
                self.archive.faults.popleft()(self, content or b"")
            elif content is None:
                self.send(b"no such file", 404)
            else:
                self.serve(content)

    def serve(self, content: bytes) -> None:
        """Send the file, or the requested rest of it."""
        requested = self.headers.get("Range")
        if requested and self.headers.get("If-Range") == self.archive.etag(content):
            start = int(requested.removeprefix("bytes=").rstrip("-"))
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send(content[start:], 206, {"Content-Range": span, "ETag": self.archive.etag(content)})
        else:
            self.send(content, 200, {"ETag": self.archive.etag(content)})

    def send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.begin(len(body), status, headers)
        self.wfile.write(body)

    def begin(self, length: int | None, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {"Content-Type": "application/fits", **(headers or {})}
        for name, value in ({"Content-Length": str(length)} if length is not None else {}).items() | headers.items():
            self.send_header(name, value)
        self.end_headers()

    def json(self, content: Any) -> None:
        self.send(json.dumps(content).encode(), 200, {"Content-Type": "application/json"})

    def log_message(self, *_: Any) -> None:
        """Suppress the log: the archive records the requests."""


class Crowd:
    """Counts the maximum number of concurrent entries."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self.max_inside = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.max_inside = max(self.max_inside, self._inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


Fault = Callable[[Handler, bytes], None]


@dataclass
class Archive:
    """The content of the server, and the requests that it received.

    files      by data URI;  bucket  by path
    faults     for the next downloads; search_faults for the next searches; column_faults for the next requests about
               columns, which astroquery sends before a search; after them, responses are correct
    busy       entered while a download is sent; ``busy.max_inside`` is the maximum number of concurrent downloads
    """

    files: dict[str, bytes] = field(default_factory=dict)
    bucket: dict[str, bytes] = field(default_factory=dict)
    observations: list[dict[str, Any]] = field(default_factory=list)
    products: list[dict[str, Any]] = field(default_factory=list)
    places: dict[str, tuple[float, float]] = field(default_factory=dict)
    faults: deque[Fault] = field(default_factory=deque)
    search_faults: deque[Fault] = field(default_factory=deque)
    column_faults: deque[Fault] = field(default_factory=deque)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    searches: list[dict[str, Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)
    busy: Crowd = field(default_factory=Crowd)
    url: str = ""

    def start(self) -> ThreadingHTTPServer:
        handler = type("Handler", (Handler,), {"archive": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    def record(self, handler: Handler) -> None:
        self.requests.append((handler.path, dict(handler.headers)))

    @property
    def downloads(self) -> list[dict[str, str]]:
        """Return the headers of each request for a file of MAST."""
        return [headers for path, headers in self.requests if path.startswith(DOWNLOAD)]

    def etag(self, content: bytes) -> str:
        return f'"{hash(content):x}"'

    def list(
        self,
        file: str,
        content: bytes | None,
        *,
        star: str,
        project: str = "TESS",
        author: str = "SPOC",
        exposure: float = 120.0,
        number: int | None = 1,
        place: tuple[float, float] = (0.0, 0.0),
        uri: str = "",
        description: str = "Light curves",
        size: int | None = None,
        other_files: Iterable[str] = (),
        observation: str = "",
    ) -> str:
        """Add the light curve ``file`` of ``star``, with the ``other_files`` of its observation, and return its URI."""
        uri = uri or f"mast:{project}/product/{file}"
        identity = observation or file.removesuffix("_lc.fits")
        collection = "HLSP" if "hlsp" in file else project
        obsid = str(60_000_000 + len(self.observations))
        if not any(row["obs_id"] == identity for row in self.observations):
            row = dict.fromkeys(_OBSERVATION) | {
                "dataproduct_type": "timeseries" if project == "TESS" else "cube",
                "calib_level": 3,
                "obs_collection": collection,
                "obs_id": identity,
                "target_name": star,
                "s_ra": place[0],
                "s_dec": place[1],
                "t_min": 58324.79,
                "t_max": 58352.67,
                "t_exptime": exposure,
                "project": project,
                "provenance_name": author,
                "sequence_number": number,
                "obsid": obsid,
            }
            self.observations.append(row)
        for name in (file, *other_files):
            path = uri if name == file else f"{uri.rpartition('/')[0]}/{name}"
            row = dict.fromkeys(_PRODUCT) | {
                "obsID": obsid,
                "obs_collection": collection,
                "dataproduct_type": "timeseries",
                "obs_id": identity,
                "description": description,
                "type": "S",
                "dataURI": path,
                "productType": "SCIENCE",
                "project": author,
                "productFilename": name,
                "size": size or (len(content) if content else 0),
            }
            self.products.append(row)
        if content is not None:
            self.files[uri] = content
        return uri

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        params = request["params"]
        if request["service"] == "Mast.Caom.Products":
            obsids = set(params["obsid"].split(","))
            return _format_table(_PRODUCT, [row for row in self.products if row["obsID"] in obsids])
        rows = [
            row for row in self.observations if all(_matches(row, query_filter) for query_filter in params["filters"])
        ]
        if request["service"] == "Mast.Caom.Filtered":
            return _format_table(_OBSERVATION, rows)
        assert request["service"] == "Mast.Caom.Filtered.Position"
        ra, dec, _ = map(float, params["position"].split(", "))
        near = [row | {"distance": 3600 * max(abs(row["s_ra"] - ra), abs(row["s_dec"] - dec))} for row in rows]
        return _format_table(_OBSERVATION | {"distance": "float"}, [row for row in near if row["distance"] < 5])

    def resolve(self, name: str) -> dict[str, Any]:
        place = self.places.get(name.lower())
        entry = {"searchString": name.lower(), "resolver": "SIMBAD", "cached": True, "canonicalName": name}
        rows = [entry | {"ra": place[0], "decl": place[1]}] if place else []
        return {"resolvedCoordinate": rows, "status": ""}


def _format_table(columns: dict[str, str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    paging = {"page": 1, "pageSize": 50000, "pagesFiltered": 1, "rows": len(rows), "rowsFiltered": len(rows)}
    fields = [{"name": name, "type": kind} for name, kind in columns.items()]
    return {"status": "COMPLETE", "msg": "", "data": rows, "fields": fields, "paging": paging}


def _matches(row: dict[str, Any], query_filter: dict[str, Any]) -> bool:
    return str(row[query_filter["paramName"]]).lower() in {str(value).lower() for value in query_filter["values"]}


def send_busy(status: int, retry_after: str | None = None) -> Fault:
    """Send an error status, with Retry-After if given."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return lambda handler, _: handler.send(b"busy", status, headers)


def send_part(share: float, *, etag: bool = True) -> Fault:
    """Send a part and close the connection."""

    def fault(handler: Handler, content: bytes) -> None:
        handler.begin(len(content), 200, {"ETag": handler.archive.etag(content)} if etag else {})
        handler.wfile.write(content[: int(len(content) * share)])
        handler.close_connection = True

    return fault


def send_reset(handler: Handler, content: bytes) -> None:
    """Send a part and reset the connection."""
    import socket
    import struct

    handler.begin(len(content))
    handler.wfile.write(content[: len(content) // 2])
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.shutdown(socket.SHUT_RD)
    handler.connection.close()


def send_stalled(handler: Handler, content: bytes) -> None:
    """Send a part, then wait until the test releases it."""
    handler.begin(len(content), 200, {"ETag": handler.archive.etag(content)})
    handler.wfile.write(content[: len(content) * 3 // 4])
    handler.wfile.flush()
    handler.archive.reached.set()
    handler.archive.released.wait(30)
    handler.close_connection = True


def send_when_released(handler: Handler, content: bytes) -> None:
    """Send the file when the test releases it."""
    handler.archive.reached.set()
    handler.archive.released.wait(30)
    handler.serve(content)


def send_instead(content: bytes, **headers: str) -> Fault:
    """Send other content."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.send(content, 200, named)


def send_short_length(handler: Handler, content: bytes) -> None:
    """Send the first half of the file, and declare only its length."""
    handler.send(content[: len(content) // 2])


def send_redirect(address: str) -> Fault:
    """Redirect to another address."""
    return lambda handler, _: handler.send(b"", 302, {"Location": address})

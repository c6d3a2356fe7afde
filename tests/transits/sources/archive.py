"""An archive on this machine: MAST's search, its downloads, its name resolver and its public bucket, over real HTTP.

Answers have the form of those that astroquery's own tests recorded (``astroquery/mast/tests/data``: ``advSearch.json``,
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
    """One request. Faults are functions of it, called in the place of the proper answer."""

    protocol_version = "HTTP/1.1"
    archive: "Archive"

    def do_GET(self) -> None:
        self.archive.note(self)
        address = urlsplit(self.path)
        if address.path == "/Santa-war/query":
            self.json(self.archive.resolved(parse_qs(address.query)["name"][0]))
        elif address.path == DOWNLOAD:
            self.download(self.archive.files.get(parse_qs(address.query)["uri"][0]))
        else:
            self.download(self.archive.bucket.get(address.path))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.archive.note(self)
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
                self.whole(b"no such file", 404)
            else:
                self.serve(content)

    def serve(self, content: bytes) -> None:
        """The file, or the rest of it, as a good server does."""
        wish = self.headers.get("Range")
        if wish and self.headers.get("If-Range") == self.archive.etag(content):
            start = int(wish.removeprefix("bytes=").rstrip("-"))
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.whole(content[start:], 206, {"Content-Range": span, "ETag": self.archive.etag(content)})
        else:
            self.whole(content, 200, {"ETag": self.archive.etag(content)})

    def whole(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.begin(len(body), status, headers)
        self.wfile.write(body)

    def begin(self, length: int | None, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {"Content-Type": "application/fits", **(headers or {})}
        for name, value in ({"Content-Length": str(length)} if length is not None else {}).items() | headers.items():
            self.send_header(name, value)
        self.end_headers()

    def json(self, content: Any) -> None:
        self.whole(json.dumps(content).encode(), 200, {"Content-Type": "application/json"})

    def log_message(self, *_: Any) -> None:
        """Nothing: requests are kept in the archive."""


class Crowd:
    """How many were inside at a time, at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


Fault = Callable[[Handler, bytes], None]


@dataclass
class Archive:
    """What the server has and what it was asked.

    files      by data URI;  bucket  by path
    faults     of the next downloads; search_faults of the next searches; column_faults of the next answers about
               columns, for which astroquery asks before it searches; then all is well
    busy       held while a download is answered, so that two at a time are noticed: see ``most_at_a_time``
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

    def note(self, handler: Handler) -> None:
        self.requests.append((handler.path, dict(handler.headers)))

    @property
    def downloads(self) -> list[dict[str, str]]:
        """The headers of each request for a file of MAST's."""
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
        beside: Iterable[str] = (),
        observation: str = "",
    ) -> str:
        """Have the light curve ``file`` of ``star``, and ``beside`` it files of other kinds; gives back its URI."""
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
        for name in (file, *beside):
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
            wanted = set(params["obsid"].split(","))
            return _table(_PRODUCT, [row for row in self.products if row["obsID"] in wanted])
        rows = [row for row in self.observations if all(_passes(row, one) for one in params["filters"])]
        if request["service"] == "Mast.Caom.Filtered":
            return _table(_OBSERVATION, rows)
        assert request["service"] == "Mast.Caom.Filtered.Position"
        ra, dec, _ = map(float, params["position"].split(", "))
        near = [row | {"distance": 3600 * max(abs(row["s_ra"] - ra), abs(row["s_dec"] - dec))} for row in rows]
        return _table(_OBSERVATION | {"distance": "float"}, [row for row in near if row["distance"] < 5])

    def resolved(self, name: str) -> dict[str, Any]:
        place = self.places.get(name.lower())
        found = {"searchString": name.lower(), "resolver": "SIMBAD", "cached": True, "canonicalName": name}
        rows = [found | {"ra": place[0], "decl": place[1]}] if place else []
        return {"resolvedCoordinate": rows, "status": ""}


def _table(columns: dict[str, str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    paging = {"page": 1, "pageSize": 50000, "pagesFiltered": 1, "rows": len(rows), "rowsFiltered": len(rows)}
    fields = [{"name": name, "type": kind} for name, kind in columns.items()]
    return {"status": "COMPLETE", "msg": "", "data": rows, "fields": fields, "paging": paging}


def _passes(row: dict[str, Any], one: dict[str, Any]) -> bool:
    return str(row[one["paramName"]]).lower() in {str(value).lower() for value in one["values"]}


def busy(status: int, retry_after: str | None = None) -> Fault:
    """Says that it is busy."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return lambda handler, _: handler.whole(b"busy", status, headers)


def cut(share: float, *, etag: bool = True) -> Fault:
    """Sends a part and closes the connection."""

    def fault(handler: Handler, content: bytes) -> None:
        handler.begin(len(content), 200, {"ETag": handler.archive.etag(content)} if etag else {})
        handler.wfile.write(content[: int(len(content) * share)])
        handler.close_connection = True

    return fault


def reset(handler: Handler, content: bytes) -> None:
    """Sends a part and resets the connection."""
    import socket
    import struct

    handler.begin(len(content))
    handler.wfile.write(content[: len(content) // 2])
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.shutdown(socket.SHUT_RD)
    handler.connection.close()


def stall(handler: Handler, content: bytes) -> None:
    """Sends a part and then nothing, until the test lets it."""
    handler.begin(len(content), 200, {"ETag": handler.archive.etag(content)})
    handler.wfile.write(content[: len(content) * 3 // 4])
    handler.wfile.flush()
    handler.archive.reached.set()
    handler.archive.released.wait(30)
    handler.close_connection = True


def hold(handler: Handler, content: bytes) -> None:
    """Sends all, once the test lets it."""
    handler.archive.reached.set()
    handler.archive.released.wait(30)
    handler.serve(content)


def instead(content: bytes, **headers: str) -> Fault:
    """Sends something else."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.whole(content, 200, named)


def short_length(handler: Handler, content: bytes) -> None:
    """Says that the file is half as long as it is, and sends so much."""
    handler.whole(content[: len(content) // 2])


def redirect(address: str) -> Fault:
    """Sends on to another address."""
    return lambda handler, _: handler.whole(b"", 302, {"Location": address})

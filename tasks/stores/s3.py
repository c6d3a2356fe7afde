"""Amazon S3 and servers with its interface, through s3fs. Credentials come from botocore's own chain."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)
from fsspec.asyn import sync
from s3fs import S3FileSystem

from tasks.stores.base import CHUNK_BYTES, ObjectInfo, Pace, WritableStore, read_verified
from tasks.stores.errors import ObjectExists, StoreError, Transient
from tasks.stores.location import Location

_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_MAX_CONNECTIONS = 64
_MAX_PARTS = 10_000
_MAX_REMOVED = 1000  # per request
_TIMEOUT_SECONDS = 300.0  # of one request, whatever the library waits for
_SHA256 = "sha256"  # metadata of every uploaded file
_ERRORS = (OSError, BotoCoreError, ClientError, aiohttp.ClientError)
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_PRECONDITION = frozenset({"412", "PreconditionFailed"})
_EMPTY_RANGE = frozenset({"416", "InvalidRange"})
# Codes whose status does not say that a retry may help.
_TRANSIENT = frozenset(
    {"RequestTimeout", "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "ConditionalRequestConflict"}
    | {"OperationAborted", "SlowDown", "RequestTimeTooSkewed", "XAmzContentChecksumMismatch"}
)
_MIN_TRANSIENT_STATUS, _TOO_MANY_REQUESTS, _CONFLICT = 500, 429, 409
_NO_CREDENTIALS = (
    NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, TokenRetrievalError, ProfileNotFound,
)  # fmt: skip


class S3Store(WritableStore):
    """One prefix of a bucket."""

    def __init__(self, location: Location, pace: Pace | None = None) -> None:
        super().__init__(location, pace)
        config = {
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _READ_SECONDS,
            "max_pool_connections": _MAX_CONNECTIONS,
            "retries": {"total_max_attempts": 1},  # retried here, with the guard of the caller
            "request_checksum_calculation": "when_required",  # each body has a Content-MD5, which every server checks
            "response_checksum_validation": "when_required",
        }
        self._fs = S3FileSystem(config_kwargs=config, skip_instance_cache=True, use_listings_cache=False)
        self._fs.retries = 1
        self._server_seconds: float | None = None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose keys begin with ``prefix``, 1000 per request."""
        base = f"{self.location.path}/" if self.location.path else ""
        following: dict[str, Any] = {}
        while True:
            page = self._call(prefix, "list_objects_v2", Prefix=f"{base}{prefix}", **following)
            for entry in page.get("Contents", ()):
                if not entry["Key"].endswith("/"):  # an empty object that stands for a folder
                    yield _read_entry(entry, entry["Key"].removeprefix(base))
            if not page.get("IsTruncated"):
                return
            following = {"ContinuationToken": page["NextContinuationToken"]}

    def find(self, key: str) -> ObjectInfo | None:
        """Return one object; None if there is none."""
        answer = self._find(key)
        return _read_answer(key, answer) if answer else None

    def _find(self, key: str) -> dict[str, Any] | None:
        try:
            return self._call(key, "head_object", Key=self._key(key))
        except _Refused as error:
            if error.code in _MISSING:
                return None
            raise error.explained from error

    def read_range(self, key: str, etag: str, start: int, end: int) -> bytes:
        """Return a range of an object, all of it in one request."""
        same: dict[str, Any] = {"IfMatch": f'"{etag}"'} if etag else {}
        try:
            answer = self._call(key, "get_object", Key=self._key(key), Range=f"bytes={start}-{end - 1}", **same)
        except _Refused as error:
            if error.code in _EMPTY_RANGE:
                return b""
            if error.code in _PRECONDITION:
                raise self.make_changed(key) from error
            raise (self.make_missing(key) if error.code in _MISSING else error.explained) from error
        content: bytes = answer["Body"]
        return content

    def put(self, key: str, content: bytes, *, is_new: bool = False, match: str = "") -> ObjectInfo:
        """Write a small object. The server compares its digest."""
        condition = {"IfNoneMatch": "*"} if is_new else {"IfMatch": f'"{match}"'} if match else {}
        try:
            answer = self._put(key, content, condition)
        except _Refused as error:
            if error.code in _PRECONDITION | _MISSING and condition:
                if (found := self._find_own(key, content)) is not None:  # the answer to an earlier try got lost
                    return found
                raise (self._make_exists(key) if is_new else self.make_changed(key)) from error
            raise error.explained from error
        return ObjectInfo(key, len(content), _read_etag(answer))

    def _put(self, key: str, content: bytes, options: dict[str, Any], guard: Callable[[], None] = lambda: None) -> Any:
        parameters = {"Key": self._key(key), "Body": content, "ContentMD5": _hash_md5(content), **options}
        return self._call(key, "put_object", guard, **parameters)

    def _find_own(self, key: str, content: bytes) -> ObjectInfo | None:
        """Return the object if it has this content already."""
        found = self.find(key)
        if found is None or found.size_bytes != len(content):
            return None
        return found if self.read_range(key, found.etag, 0, len(content) + 1) == content else None

    def upload(self, key: str, path: Path, sha256: str, guard: Callable[[], None]) -> ObjectInfo:
        """Write a file as a new object, in parts if it is large."""
        size = path.stat().st_size
        options = {"Metadata": {_SHA256: sha256}}
        try:
            if size <= CHUNK_BYTES:
                content = b"".join(read_verified(path, sha256))
                answer = self._put(key, content, {**options, "IfNoneMatch": "*"}, guard)
            else:
                answer = self._upload_parts(key, path, sha256, options, guard)
        except _Refused as error:
            if error.code not in _PRECONDITION:
                raise error.explained from error
            found = self._find(key)  # the answer to an earlier try may have got lost
            if found and found["ContentLength"] == size and found.get("Metadata", {}).get(_SHA256) == sha256:
                return _read_answer(key, found)
            raise self._make_exists(key) from error
        return ObjectInfo(key, size, _read_etag(answer))

    def _upload_parts(
        self, key: str, path: Path, sha256: str, options: dict[str, Any], guard: Callable[[], None]
    ) -> dict[str, Any]:
        if path.stat().st_size > _MAX_PARTS * CHUNK_BYTES:
            raise StoreError(f"{path.name} is too large for {self.location}: at most {_MAX_PARTS * CHUNK_BYTES} bytes")
        name = {"Key": self._key(key)}
        upload = {**name, "UploadId": self._call(key, "create_multipart_upload", guard, **name, **options)["UploadId"]}
        try:
            parts = []
            for number, chunk in enumerate(read_verified(path, sha256), 1):
                body = {"Body": chunk, "ContentMD5": _hash_md5(chunk), "PartNumber": number}
                answer = self._call(key, "upload_part", guard, **upload, **body)
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            guard()
            parts_of = {"MultipartUpload": {"Parts": parts}}
            return self._call(key, "complete_multipart_upload", guard, **upload, **parts_of, IfNoneMatch="*")
        except BaseException:
            with suppress(StoreError, _Refused):  # the first error counts; the next run removes the parts
                self._call(key, "abort_multipart_upload", **upload)
            raise

    def remove(self, keys: Collection[str]) -> None:
        """Remove objects, 1000 per request."""
        waiting = list(keys)
        while waiting:
            batch, waiting = waiting[:_MAX_REMOVED], waiting[_MAX_REMOVED:]
            names = [{"Key": self._key(key)} for key in batch]
            answer = self._call(batch[0], "delete_objects", Delete={"Objects": names, "Quiet": True})
            if errors := answer.get("Errors"):
                given = f"{errors[0].get('Key')}: {errors[0].get('Code')}"
                raise StoreError(f"{self.location}: {len(errors)} objects could not be removed; the first: {given}")

    def read_clock(self) -> float | None:
        """Return the server's time in its last answer."""
        return self._server_seconds

    def abort_uploads(self) -> None:
        """Remove parts of unfinished uploads below the prefix."""
        base = f"{self.location.path}/" if self.location.path else ""
        try:
            found = self._call("", "list_multipart_uploads", Prefix=base).get("Uploads", ())
            for upload in found:
                self._call("", "abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])
        except _Refused:  # not every server has this request, and not every user may use it
            return

    def _key(self, key: str) -> str:
        return f"{self.location.path}/{key}".strip("/")

    def _make_exists(self, key: str) -> ObjectExists:
        return ObjectExists(f"{self.location.child(key)} exists already, and another process has written it")

    def _call(
        self, key: str, method: str, guard: Callable[[], None] = lambda: None, **parameters: Any
    ) -> dict[str, Any]:
        """Return the answer to a request; its body is read. Raises StoreError, and _Refused for the caller to judge."""

        def request() -> dict[str, Any]:
            try:
                answer = sync(self._fs.loop, self._send, method, parameters, timeout=_TIMEOUT_SECONDS)
            except _ERRORS as error:
                raise self._explain(key, error) from error
            self._note_time(answer)
            return _check_answer(method, answer)

        try:
            return self.retry(request, guard)
        except _Refused as error:
            if method in _JUDGED:
                raise
            raise error.explained from error

    async def _send(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await self._fs._call_s3(method, Bucket=self.location.host, **parameters)  # noqa: SLF001
        if "Body" in answer:
            async with answer["Body"] as body:
                answer["Body"] = await body.read()
        return answer

    def _note_time(self, answer: dict[str, Any]) -> None:
        with suppress(KeyError, ValueError, TypeError):
            date = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
            self._server_seconds = parsedate_to_datetime(date).timestamp()

    def _explain(self, key: str, error: BaseException) -> Exception:
        """Return the error to raise for a failed request: Transient, StoreError or _Refused."""
        refusal = _find_refusal(error)
        if refusal is None:
            return self._explain_failure(error)
        code = str(refusal.response.get("Error", {}).get("Code", ""))
        metadata = refusal.response.get("ResponseMetadata", {})
        status = int(metadata.get("HTTPStatusCode", 0))
        if status >= _MIN_TRANSIENT_STATUS or status == _TOO_MANY_REQUESTS or code in _TRANSIENT:
            return Transient(f"HTTP {status} {code}", _read_wait(metadata))
        if status == _CONFLICT:
            return Transient(f"HTTP {status} {code}")
        return _Refused(code, self._make_refused(key, code, status))

    def _explain_failure(self, error: BaseException) -> Exception:
        """Return the error for a request without an answer."""
        if isinstance(error, _NO_CREDENTIALS):
            advice = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
            return StoreError(f"{self.location}: no credentials ({type(error).__name__}); {advice}")
        if isinstance(error, NoRegionError | ParamValidationError) or type(error) is ValueError:
            return StoreError(f"{self.location}: {type(error).__name__}; check the bucket's name and AWS_REGION")
        return Transient(f"no answer ({type(error).__name__})")

    def _make_refused(self, key: str, code: str, status: int) -> StoreError:
        where = self.location.child(key)
        if code == "NoSuchBucket":
            bucket = self.location.host
            return StoreError(f"{self.location}: there is no bucket {bucket}; create it, or check the name")
        if status in {401, 403} or "Access" in code or "Token" in code or "Signature" in code:
            advice = "check the credentials and their permissions"
            return StoreError(f"{where}: access denied ({code or status}); {advice}")
        if status in {301, 400} and ("Redirect" in code or "Region" in code or "Location" in code or status == 301):
            return StoreError(f"{where}: the bucket is in another region ({code or status}); set AWS_REGION to it")
        return StoreError(f"{where}: the store refused a request ({code or status}); check the URL")


class _Refused(Exception):
    """The server's refusal of one request: its code, and the error if the caller has no better one."""

    def __init__(self, code: str, explained: StoreError) -> None:
        self.code = code
        self.explained = explained
        super().__init__(code)


# Requests whose refusals their callers judge.
_JUDGED = frozenset(
    {"head_object", "get_object", "put_object", "upload_part", "create_multipart_upload", "complete_multipart_upload"}
    | {"abort_multipart_upload", "list_multipart_uploads"}
)


def _find_refusal(error: BaseException | None) -> ClientError | None:
    """Return the server's answer among an error and those that led to it; s3fs turns it into an OSError."""
    while error is not None:
        if isinstance(error, ClientError):
            return error
        error = error.__cause__
    return None


def _check_answer(method: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Return ``answer``. Raises Transient if it is not whole."""
    if method == "list_objects_v2" and "KeyCount" not in answer and "Name" not in answer:
        raise Transient("an empty listing without a name")
    if method in {"put_object", "upload_part", "complete_multipart_upload"} and not answer.get("ETag"):
        raise Transient("an answer without an ETag")
    if method == "get_object" and len(answer["Body"]) != answer.get("ContentLength", len(answer["Body"])):
        raise Transient(f"{len(answer['Body'])} of {answer['ContentLength']} bytes arrived")
    return answer


def _read_entry(entry: dict[str, Any], key: str) -> ObjectInfo:
    modified = entry.get("LastModified")
    return ObjectInfo(key, entry["Size"], entry["ETag"].strip('"'), modified.timestamp() if modified else 0.0)


def _read_answer(key: str, answer: dict[str, Any]) -> ObjectInfo:
    modified = answer.get("LastModified")
    return ObjectInfo(key, answer["ContentLength"], _read_etag(answer), modified.timestamp() if modified else 0.0)


def _read_etag(answer: dict[str, Any]) -> str:
    return str(answer["ETag"]).strip('"')


def _read_wait(metadata: dict[str, Any]) -> float:
    """Return the seconds that the server asks to wait, at most a minute."""
    given = str(metadata.get("HTTPHeaders", {}).get("retry-after", ""))
    return min(float(given), 60.0) if given.isascii() and given.isdecimal() else 0.0


def _hash_md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()

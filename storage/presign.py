"""Presigned requests: AWS Signature Version 4 in the query string.

Our own, because one by botocore takes 1.4 ms and a manifest of a thousand files needs a thousand.
"""

import hmac
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from urllib.parse import quote, urlsplit

from storage import digest as digests

PUT_EXPIRES_S: Final = 15 * 60
GET_EXPIRES_S: Final = 5 * 60
BINARY: Final = "application/octet-stream"
SAFE: Final = "-_.~"
SHA256_METADATA: Final = "x-amz-meta-sha256"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client has to send: exactly these headers, and the body that they promise."""

    method: str
    key: str
    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs requests to one bucket at `bucket_url`; `now` is the time to sign for, None the present."""

    bucket_url: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    sse: str | None = None
    now: datetime | None = None

    def at(self, now: datetime) -> "Signer":
        """The same, as it would have signed then."""
        return replace(self, now=now)

    def put_content(self, key: str, digest: bytes, size_bytes: int) -> Request:
        """PUT that the store takes only with these very bytes, and only when the key is free."""
        headers = {
            "content-length": str(size_bytes),
            "content-type": BINARY,
            "if-none-match": "*",
            "x-amz-checksum-sha256": digests.header(digest),
            SHA256_METADATA: digest.hex(),
            **self._encryption(),
        }
        return self._request("PUT", key, PUT_EXPIRES_S, headers=headers)

    def put_staging(self, key: str, size_bytes: int) -> Request:
        """PUT of bytes that the worker will look at: only what every store understands is signed."""
        headers = {"content-length": str(size_bytes), "content-type": BINARY, **self._encryption()}
        return self._request("PUT", key, PUT_EXPIRES_S, headers=headers)

    def put_part(self, key: str, multipart_id: str, number: int, size_bytes: int) -> Request:
        """PUT of one part of a multipart upload; parts count from 1."""
        query = {"partNumber": str(number), "uploadId": multipart_id}
        return self._request("PUT", key, PUT_EXPIRES_S, query=query, headers={"content-length": str(size_bytes)})

    def get(self, key: str, path: str, media_type: str = BINARY) -> Request:
        """GET of a file to be saved under the last name of `path`; no browser that follows the link shows it.

        A page may still show what it fetches; `media_type` must be one that is safe there.
        """
        query = {"response-content-disposition": attachment(path), "response-content-type": media_type}
        return self._request("GET", key, GET_EXPIRES_S, query=query)

    def _encryption(self) -> dict[str, str]:
        return {} if self.sse is None else {"x-amz-server-side-encryption": self.sse}

    def _request(
        self,
        method: str,
        key: str,
        expires_s: int,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Request:
        sent = dict(headers or {})
        return Request(method, key, self.url(method, key, expires_s, query or {}, sent), sent)

    def url(self, method: str, key: str, expires_s: int, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
        """The URL that allows `method` on `key` with exactly these lower-case `headers` for `expires_s` seconds."""
        bucket = urlsplit(self.bucket_url)
        now = (self.now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        signed = {**headers, "host": bucket.netloc}
        names = ";".join(sorted(signed))
        asked = {
            **query,
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.access_key_id}/{scope}",
            "X-Amz-Date": now,
            "X-Amz-Expires": str(expires_s),
            "X-Amz-SignedHeaders": names,
        }
        if self.session_token is not None:
            asked["X-Amz-Security-Token"] = self.session_token
        path = f"{bucket.path}/{quote(key, safe=SAFE + '/')}"
        arguments = "&".join(f"{quote(name, safe=SAFE)}={quote(asked[name], safe=SAFE)}" for name in sorted(asked))
        lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed))
        canonical = f"{method}\n{path}\n{arguments}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = hmac.new(self._key(scope), text.encode(), sha256).hexdigest()
        return f"{bucket.scheme}://{bucket.netloc}{path}?{arguments}&X-Amz-Signature={signature}"

    def _key(self, scope: str) -> bytes:
        key = f"AWS4{self.secret_access_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return key


def attachment(path: str) -> str:
    """A Content-Disposition (RFC 6266) that saves the file under the last name of `path`."""
    name = path.rsplit("/", 1)[-1]
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "replace").decode()
    plain = "".join("_" if character in '"\\%?*' or not character.isprintable() else character for character in plain)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=SAFE)}"

"""Signature version 4 for one host and service, with all that can be kept kept."""

from __future__ import annotations

import hmac
import os
import time
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable

EMPTY = sha256(b"").hexdigest()


class Signer:
    """Signs requests whose signed headers, besides those of every request, are always the same."""

    def __init__(self, service: str, host: str, more: tuple[tuple[str, str], ...] = ()) -> None:
        self._service = service
        self._region = os.environ["AWS_REGION"]
        # All services but S3 want what is encoded to be encoded once more.
        self._quote: Callable[[str], str] = str if service == "s3" else partial(quote, safe="/~")
        names = sorted(["host", "x-amz-date", *[name for name, _ in more]])
        self._headers = {"host": host, **dict(more)}
        self._names = ";".join(names)
        self._second = -1
        self._day = ""
        self.date = ""

    def authorization(self, method: str, path: str, body: bytes, headers: str = "") -> str:
        """Return the header's value; `path` is percent-encoded, `headers` are lines that change."""
        second = int(time.time())
        if second != self._second:
            self._begin(second)
        canonical = (
            f"{method}\n{self._quote(path)}\n\n{headers or self._lines}\n{self._names}\n"
            f"{sha256(body).hexdigest() if body else EMPTY}"
        )
        text = f"{self._head}{sha256(canonical.encode()).hexdigest()}"
        return self._prefix + hmac.digest(self._key, text.encode(), "sha256").hex()

    def lines(self, **headers: str) -> str:
        """Return the lines of the signed headers, some of them new."""
        given = {**self._headers, "x-amz-date": self.date, **headers}
        return "".join(f"{name}:{given[name]}\n" for name in self._names.split(";"))

    def _begin(self, second: int) -> None:
        self._second = second
        self.date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        day = self.date[:8]
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        if day != self._day:
            self._day, self._key = day, f"AWS4{os.environ['AWS_SECRET_ACCESS_KEY']}".encode()
            for part in scope.split("/"):
                self._key = hmac.digest(self._key, part.encode(), "sha256")
            self._prefix = (
                f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, "
                f"SignedHeaders={self._names}, Signature="
            )
        self._head = f"AWS4-HMAC-SHA256\n{self.date}\n{scope}\n"
        self._lines = self.lines()

"""Fetch photos from the web, with bounds for size, time and retries, and keep them on disk.

urllib3 fetches them: tritonclient needs it anyway, and it lets a connection be checked where it is opened.
"""

from __future__ import annotations

import time
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

from urllib3 import Retry
from urllib3.exceptions import HTTPError, MaxRetryError, ResponseError
from urllib3.response import BaseHTTPResponse

from shopwindow.base.default_places import user_cache
from shopwindow.base.photos.errors import PhotoUnfit
from shopwindow.base.photos.header import MAX_BYTES, read_header
from shopwindow.indexing.catalogue.photos.addresses import AddressRefused, checked_pools
from shopwindow.indexing.catalogue.photos.options import PhotoOptions, Unreadable
from shopwindow.indexing.errors import CatalogError

_REDIRECTS = 5
_BUSY = {408, 425, 429, 500, 502, 503, 504}
_MOST_FAILURES = 100  # in a row: then the network or the server is down, and not a photo missing
_PAUSE_S = 1.0  # before the first retry; doubled before each further one
_HEADERS = {"User-Agent": "shopwindow", "Accept": "image/jpeg, image/png, image/webp"}


class NotFetched(Exception):
    """A photo could not be fetched. The message says why."""


class _TryAgain(NotFetched):
    """The same as `NotFetched`, but it may work later.

    Args:
        reason: why.
        pause: seconds that the server asks for; 0 if it does not.
    """

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class PhotoFetcher:
    """Fetches photos. Several threads call it at once.

    A photo that was fetched is kept on disk, and its address is not asked again. Remove the folder to fetch anew.

    Args:
        options: the limits, and which addresses are allowed.
    """

    def __init__(self, options: PhotoOptions) -> None:
        self._options = options
        self._cache = Path(options.cache) if options.cache else user_cache("photos")
        self._failures = 0  # in a row
        self._pools = checked_pools(private=options.private, seconds=options.seconds, at_once=options.at_once)

    def __call__(self, url: str) -> bytes:
        """Return the file at an address.

        Raises:
            NotFetched: there is none, it is too large, it takes too long, or its host is not public.
            CatalogError: nothing can be fetched any more.
            OSError: the cache cannot be written.
        """
        name = sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        kept = self._cache / name[:2] / name
        try:
            return kept.read_bytes()
        except FileNotFoundError:
            pass
        data = self._fetch(url)
        try:
            read_header(data)
        except PhotoUnfit:
            return data  # whoever decodes it says what it is; it may be another file tomorrow
        kept.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=kept.parent, prefix=".", delete=False) as new:
            new.write(data)
        Path(new.name).replace(kept)  # whole, or not at all
        return data

    def _fetch(self, url: str) -> bytes:
        pause = _PAUSE_S
        for left in reversed(range(self._options.retries + 1)):
            try:
                data = self._attempt(url)
            except _TryAgain as error:
                if not left:
                    self._count_failure(url, error)
                    raise NotFetched(f"{error} (tried {self._options.retries + 1} times)") from error
                time.sleep(min(max(pause, error.pause), self._options.seconds))
                pause *= 2
            except NotFetched:
                self._failures = 0  # the server works
                raise
            else:
                self._failures = 0
                return data
        raise AssertionError("unreachable")

    def _count_failure(self, url: str, error: _TryAgain) -> None:
        self._failures += 1
        if self._failures >= _MOST_FAILURES and self._options.unreadable is Unreadable.CHECK:
            raise CatalogError(
                f"image: {self._failures} photos in a row could not be fetched, the last one {url[:200]!r}: {error}. "
                "Nothing was published. Run the same command again when the server answers: it goes on from here, "
                "and photos fetched so far are kept"
            ) from error

    def _attempt(self, url: str) -> bytes:
        end = time.monotonic() + self._options.seconds
        # Errors are not retried here, because this does not see those while the body is read.
        retries = Retry(connect=0, read=0, status=0, other=0, redirect=_REDIRECTS)
        try:
            response = self._pools.request(
                "GET", url, headers=_HEADERS, retries=retries, preload_content=False, decode_content=False
            )
            try:
                if response.status in _BUSY:
                    raise _TryAgain(f"the server answered {response.status}", _asked_pause(response))
                if response.status != 200:
                    raise NotFetched(f"the server answered {response.status}")
                data = self._body(response, end)
            except BaseException:
                response.close()  # there may be more to come
                raise
            response.release_conn()
            return data
        except AddressRefused as error:
            raise NotFetched(f"{error}; --allow-private-addresses fetches from it too") from error
        except (HTTPError, OSError, ValueError) as error:
            reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
            text = f"{type(reason).__name__}: {reason}"[:300]
            if isinstance(reason, (ValueError, ResponseError)):  # a wrong address, or too many redirects
                raise NotFetched(text) from error
            raise _TryAgain(text) from error

    def _body(self, response: BaseHTTPResponse, end: float) -> bytes:
        data = bytearray()
        while chunk := response.read1(2**16):
            data += chunk
            if len(data) > MAX_BYTES:
                raise NotFetched(f"at most {MAX_BYTES} bytes, the server sends more")
            if time.monotonic() > end:
                raise _TryAgain(f"not complete after {self._options.seconds:g} s")
        return bytes(data)


def _asked_pause(response: BaseHTTPResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0

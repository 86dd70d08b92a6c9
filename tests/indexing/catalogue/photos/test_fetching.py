"""Photos from the web: only when asked, only from public addresses, within bounds, and once. Against a local server."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.catalogue.photos import addresses, fetching
from shopwindow.indexing.catalogue.photos.addresses import is_public
from shopwindow.indexing.catalogue.photos.fetching import NotFetched, PhotoFetcher
from shopwindow.indexing.catalogue.photos.options import PhotoOptions
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError

file = io.BytesIO()
Image.new("RGB", (20, 20), "red").save(file, "PNG")
PHOTO = file.getvalue()


class Shop(ThreadingHTTPServer):
    """A web server on this machine. `asked` counts requests by path."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked: Counter[str] = Counter()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.at_once = self.most_at_once = 0


class _Answer(BaseHTTPRequestHandler):
    server: Shop
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        shop, path = self.server, self.path
        shop.asked[path] += 1
        try:
            if path == "/busy" and shop.asked[path] < 3:
                self.answer(503)
            elif path == "/breaks" and shop.asked[path] < 2:
                self.answer(200, PHOTO[:50], length=len(PHOTO))
                self.close_connection = True
            elif path == "/large":
                self.answer(200, b"", length=2**40)
                while True:
                    self.wfile.write(bytes(2**16))
            elif path == "/slow-head":
                for letter in "HTTP/1.1 200 OK\r\n" + "a" * 1_000:
                    self.wfile.write(letter.encode())
                    time.sleep(0.1)
            elif path == "/slow-body":
                self.answer(200, b"", length=1_000)
                for _ in range(1_000):
                    self.wfile.write(b"a")
                    time.sleep(0.1)
            elif path.startswith("/to/"):
                self.send_response(302)
                self.send_header("Location", path.removeprefix("/to/"))
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif path == "/round":
                self.send_response(302)
                self.send_header("Location", "/round")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif path == "/missing":
                self.answer(404)
            elif path == "/page":
                self.answer(200, b"<!doctype html>")
            else:
                self.answer(200, PHOTO)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self, status: int, body: bytes = b"", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PhotoOptions:
    monkeypatch.setattr(fetching, "_PAUSE_S", 0.01)
    return PhotoOptions(fetch=True, private=True, cache=str(tmp_path / "cache"), seconds=1.0)


def test_a_photo_is_fetched_once_and_kept_on_disk(shop: Shop, options: PhotoOptions) -> None:
    fetch = PhotoFetcher(options)
    assert fetch(f"{shop.url}/1.png?size=2") == fetch(f"{shop.url}/1.png?size=2") == PHOTO
    assert PhotoFetcher(options)(f"{shop.url}/1.png?size=2") == PHOTO
    assert fetch(f"{shop.url}/1.png?size=3") == PHOTO
    assert shop.asked == {"/1.png?size=2": 1, "/1.png?size=3": 1}
    assert fetch(f"{shop.url}/page") == fetch(f"{shop.url}/page") == b"<!doctype html>"
    assert shop.asked["/page"] == 2  # it is no photo, and may be one tomorrow


def test_what_may_pass_is_tried_again_and_what_will_not_is_not(shop: Shop, options: PhotoOptions) -> None:
    fetch = PhotoFetcher(options)
    for path in ("/busy", "/breaks", "/to//busy"):
        assert fetch(shop.url + path) == PHOTO
    assert (shop.asked["/busy"], shop.asked["/breaks"]) == (4, 2)
    for path, reason in {
        "/missing": "answered 404",
        "/large": "at most 20971520 bytes",
        "/round": "too many red",
    }.items():
        with pytest.raises(NotFetched, match=reason):
            fetch(shop.url + path)
    assert (shop.asked["/missing"], shop.asked["/large"]) == (1, 1)
    with pytest.raises(NotFetched, match=r"NewConnectionError: .*127\.0\.0\.1: .*refused \(tried 3 times\)"):
        fetch("http://127.0.0.1:9/1.png")
    for wrong in ("http://", "http://a:b:c/", "http://[::1/1.png"):
        with pytest.raises(NotFetched):
            fetch(wrong)


def test_a_slow_server_is_given_up(shop: Shop, options: PhotoOptions) -> None:
    fetch = PhotoFetcher(PhotoOptions(fetch=True, private=True, cache=options.cache, seconds=0.5, retries=0))
    for path in ("/slow-head", "/slow-body"):
        started = time.monotonic()
        with pytest.raises(NotFetched):
            fetch(shop.url + path)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("::1", "::", "fe80::1%2", "fd00::1", "::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::"),
    ],
)
def test_private_addresses_are_told_from_public_ones(address: str) -> None:
    assert not is_public(address)
    assert all(map(is_public, ["93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"]))


def test_nothing_is_asked_of_a_private_address(
    shop: Shop, options: PhotoOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = PhotoFetcher(PhotoOptions(fetch=True, cache=options.cache))
    port = shop.server_address[1]
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"):
        with pytest.raises(NotFetched, match="which is not a public address; --allow-private-addresses"):
            fetch(f"http://{host}:{port}/1.png")
    assert not shop.asked
    # As if 127.0.0.1 were public: its redirect leads to an address that is not.
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    assert fetch(f"{shop.url}/1.png") == PHOTO
    with pytest.raises(NotFetched, match=r"127\.0\.0\.2 is 127\.0\.0\.2, which is not a public address"):
        fetch(f"{shop.url}/to/http://127.0.0.2:{port}/2.png")
    assert list(shop.asked) == ["/1.png", f"/to/http://127.0.0.2:{port}/2.png"]
    with pytest.raises(NotFetched):
        fetch(f"{shop.url}/to/file:///etc/passwd")


def test_a_catalogue_of_addresses_is_read_in_order(shop: Shop, options: PhotoOptions, tmp_path: Path) -> None:
    paths = [f"{shop.url}/{'missing' if row % 7 == 3 else row}" for row in range(500)]
    pq.write_table(pa.table({"product_id": range(500), "image": paths}), tmp_path / "a.parquet")
    catalog = Catalog(tmp_path / "a.parquet", CatalogOptions(photos=options))
    catalog.check_photos(1)
    found = [photos for rows in catalog.read(64, 100) for photos in rows.photos]
    assert [photos == (PHOTO,) for photos in found] == [row % 7 != 3 for row in range(100, 500)]


def test_a_server_that_is_down_stops_the_build(options: PhotoOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_MOST_FAILURES", 3)
    fetch = PhotoFetcher(options)
    for _ in range(2):
        with pytest.raises(NotFetched):
            fetch("http://127.0.0.1:9/1.png")
    with pytest.raises(CatalogError, match=r"image: 3 photos in a row could not be fetched.* goes on from here"):
        fetch("http://127.0.0.1:9/1.png")

"""The HTTP client: what it reaches, what it refuses, what it sends on.

The server is a real one on this machine; the resolvers say what they are told to say.
"""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from agentrunner.tools.net import Client, FetchError, Page
from agentrunner.tools.urls import UrlError

SECRET = {"Authorization": "Bearer s3cret", "Cookie": "session=s3cret", "X-Api-Key": "s3cret", "Accept-Language": "de"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        path, _, query = self.path.partition("?")
        getattr(self, "serve_" + path.strip("/").replace("-", "_"), self.serve_page)(query)

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content_length": str(len(body)), "content_type": "text/plain", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def serve_page(self, query: str) -> None:
        self.answer(b"hello")

    def serve_to(self, query: str) -> None:
        self.answer(b"", 302, location=unquote(query), set_cookie="tracked=yes")

    def serve_gzip(self, query: str) -> None:
        self.answer(gzip.compress(b"packed text"), content_encoding="gzip")

    def serve_bomb(self, query: str) -> None:
        self.answer(gzip.compress(b"0" * 50_000_000), content_encoding="gzip")

    def serve_broken_gzip(self, query: str) -> None:
        self.answer(b"\x1f\x8bnonsense-nonsense", content_encoding="gzip")

    def serve_brotli(self, query: str) -> None:
        self.answer(b"xxx", content_encoding="br")

    def serve_large(self, query: str) -> None:
        self.answer(b"x" * 5_000_000)

    def serve_slow(self, query: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(100):
            try:
                self.wfile.write(b".")
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.1)

    def serve_missing(self, query: str) -> None:
        self.answer(b"nothing here", 404)

    def log_message(self, format: str, *args: Any) -> None: ...


class Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left in the middle is what some of these tests are about."""


class Server:
    def __init__(self, host: str, port: int) -> None:
        self.http = Quiet((host, port), Handler)
        self.http.daemon_threads = True
        self.http.seen = []  # type: ignore[attr-defined]
        self.port = self.http.server_address[1]

    @property
    def seen(self) -> list[tuple[str, dict[str, str]]]:
        return self.http.seen  # type: ignore[attr-defined]


@contextmanager
def serving(host: str = "127.0.0.1", port: int = 0) -> Iterator[Server]:
    server = Server(host, port)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


class Names:
    """A resolver that answers each time with the next list, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


def get(url: str, /, headers: dict[str, str] | None = None, **options: Any) -> Page:
    return asyncio.run(Client(**options).get(url, headers))


def local(url: str, /, headers: dict[str, str] | None = None, **options: Any) -> Page:
    return get(url, headers, resolver=Names(["127.0.0.1"]), allow_local=True, **options)


def test_a_page_arrives_from_the_resolved_address_under_its_own_name(server: Server) -> None:
    page = local(f"http://site.example:{server.port}/page?q=1#part")
    assert (page.status, page.body, page.content_type, page.cut) == (200, b"hello", "text/plain", False)
    ((path, headers),) = server.seen
    assert path == "/page?q=1"
    assert headers["Host"] == f"site.example:{server.port}"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "[::ffff:169.254.169.254]", "10.0.0.1"]
)
def test_an_address_of_this_machine_or_network_is_not_contacted(server: Server, host: str) -> None:
    with pytest.raises(FetchError, match="only public addresses"):
        get(f"http://{host}:{server.port}/")
    assert not server.seen


@pytest.mark.parametrize(
    "url", ["http://localhost:{}/", "http://localhost:{}\\@google.com/", "http://0x7f.1:{}/", "http://2130706433:{}/"]
)
def test_other_ways_to_write_this_machine_are_refused(server: Server, url: str) -> None:
    with pytest.raises(UrlError):
        get(url.format(server.port))
    assert not server.seen


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::1"], ["fe80::1%eth0"], ["168.63.129.16"], ["64:ff9b::7f00:1"]],
)
def test_a_name_with_any_private_address_is_refused(server: Server, addresses: list[str]) -> None:
    with pytest.raises(FetchError, match="only public addresses"):
        get(f"http://site.example:{server.port}/", resolver=Names(addresses))
    assert not server.seen


def test_a_name_is_resolved_once_so_a_second_answer_gains_nothing() -> None:
    with serving() as first, serving("127.0.0.2", first.port) as second:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        assert get(f"http://rebind.example:{first.port}/", resolver=names, allow_local=True).status == 200
        assert names.asked == ["rebind.example"]
        assert (len(first.seen), len(second.seen)) == (1, 0)


def test_the_second_address_is_tried_when_the_first_does_not_answer(server: Server) -> None:
    page = get(f"http://site.example:{server.port}/", resolver=Names(["127.0.0.9", "127.0.0.1"]), allow_local=True)
    assert page.status == 200


def test_a_name_that_does_not_exist_is_said_without_the_url() -> None:
    async def nobody(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    for resolver in (nobody, Names([])):
        with pytest.raises(FetchError, match="name") as error:
            get("http://nowhere.example/?d=secret", resolver=resolver)
        assert "secret" not in str(error.value)


# --- redirects ---------------------------------------------------------------------------------------------------


def test_redirects_are_followed_and_relative_ones_understood(server: Server) -> None:
    page = local(f"http://site.example:{server.port}/to?/to?/page")
    assert str(page.url) == f"http://site.example:{server.port}/page"
    assert page.body == b"hello"


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{}/admin", "http://[::1]:{}/", "http://169.254.169.254/latest/meta-data/",
        "//127.0.0.1:{}/admin", "http://private.example:{}/",
    ],
)  # fmt: skip
def test_a_redirect_to_a_private_place_is_refused(server: Server, target: str) -> None:
    """The first host passes because it is named; everything after it is held to the rule."""

    class Half(Client):
        async def _addresses(self, url: Any) -> list[str]:
            return ["127.0.0.1"] if url.host == "site.example" else await super()._addresses(url)

    client = Half(resolver=Names(["10.0.0.7"]))
    with pytest.raises(FetchError, match="only public addresses"):
        asyncio.run(client.get(f"http://site.example:{server.port}/to?{target.format(server.port)}"))
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://site.example/", "http://user@site.example/", "http://0x7f.1/"]
)
def test_a_redirect_to_what_cannot_be_fetched_is_refused(server: Server, target: str) -> None:
    with pytest.raises(FetchError, match="redirects to a place that cannot be fetched"):
        local(f"http://site.example:{server.port}/to?{target}")


def test_redirects_without_end_are_stopped(server: Server) -> None:
    class Loop(Names): ...

    with pytest.raises(FetchError, match="redirected more than 5 times"):
        local(f"http://site.example:{server.port}/to?" + "/to?" * 7 + "/page")
    assert len(server.seen) == 6


def test_secret_headers_stay_with_their_origin(server: Server) -> None:
    with serving() as other:
        local(
            f"http://site.example:{server.port}/to?http://site.example:{other.port}/to?/x",
            SECRET,
        )
        same = local(f"http://site.example:{server.port}/to?/page", SECRET)
    assert same.status == 200
    assert server.seen[0][1]["Authorization"] == "Bearer s3cret"
    assert server.seen[2][1]["Authorization"] == "Bearer s3cret"
    assert other.seen
    for _, headers in other.seen:
        assert "s3cret" not in str(headers)
        assert headers["Accept-Language"] == "de"
    assert all("tracked" not in str(headers) for _, headers in server.seen + other.seen)


# --- size and time -----------------------------------------------------------------------------------------------


def test_compressed_pages_are_unpacked_and_bombs_are_cut(server: Server) -> None:
    base = f"http://site.example:{server.port}"
    assert local(f"{base}/gzip").body == b"packed text"
    bomb = local(f"{base}/bomb")
    assert (len(bomb.body), bomb.cut) == (2 * 1024 * 1024, True)
    large = local(f"{base}/large", max_bytes=1_000)
    assert (len(large.body), large.cut) == (1_000, True)


@pytest.mark.parametrize("path", ["broken-gzip", "brotli"])
def test_compression_that_cannot_be_read_is_said(server: Server, path: str) -> None:
    with pytest.raises(FetchError, match="compression"):
        local(f"http://site.example:{server.port}/{path}")


def test_a_server_that_drips_is_left_in_time(server: Server) -> None:
    started = time.monotonic()
    with pytest.raises(FetchError, match=r"within 0\.5 s"):
        local(f"http://site.example:{server.port}/slow", total_s=0.5)
    assert time.monotonic() - started < 3


def test_proxies_of_the_environment_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert local(f"http://site.example:{server.port}/").body == b"hello"
        assert not proxy.seen


def test_a_closed_port_is_an_instruction(server: Server) -> None:
    with pytest.raises(FetchError, match="Try another source"):
        local("http://site.example:1/")


# --- TLS ---------------------------------------------------------------------------------------------------------


def test_the_certificate_must_be_of_the_urls_name_although_the_connection_goes_to_an_address(tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("no openssl here to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=x", "-addext", "subjectAltName=DNS:site.example"],
        check=True, capture_output=True,
    )  # fmt: skip
    with serving() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
        trusting = ssl.create_default_context(cafile=str(certificate))
        page = local(f"https://site.example:{server.port}/", ssl_context=trusting)
        assert page.body == b"hello"
        with pytest.raises(FetchError, match="could not be read"):
            local(f"https://other.example:{server.port}/", ssl_context=trusting)
        with pytest.raises(FetchError, match="could not be read"):
            local(f"https://site.example:{server.port}/")
        assert len(server.seen) == 1

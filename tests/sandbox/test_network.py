"""Code in the sandbox reaches the hosts that were allowed, through the proxy, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agentrunner.errors import UsageError
from agentrunner.sandbox import Ran
from agentrunner.sandbox.inside.listen import PORT
from agentrunner.sandbox.network import VARIABLES, Network, Request, parse_hosts

from .conftest import FULL, Box, ids

HERE = "127.0.0.1"
BODY = b"hello from outside\n"

GET = """
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=10)
    print(answer.status, answer.read().decode(), end="")
except urllib.error.HTTPError as refused:
    print(refused.code, refused.read().decode(), end="")
except OSError as failure:
    print("failed:", failure)
"""
TUNNEL = """
import socket, sys
proxy = socket.create_connection(("127.0.0.1", 3128), 10)
proxy.sendall(f"CONNECT {sys.argv[1]} HTTP/1.1\\r\\nHost: {sys.argv[1]}\\r\\n\\r\\n".encode())
answer = proxy.recv(4096).decode()
print(answer.splitlines()[0])
if " 200 " in answer:
    proxy.sendall(b"GET /through HTTP/1.0\\r\\n\\r\\n")
    received = b""
    while data := proxy.recv(65536):
        received += data
    print(received.decode()[-19:], end="")
"""
RAW = """
import socket, sys
proxy = socket.create_connection(("127.0.0.1", 3128), 10)
proxy.sendall(sys.argv[1].encode("latin-1").decode("unicode_escape").encode("latin-1"))
print(proxy.recv(4096).decode(errors="replace").splitlines()[0])
"""
CONNECTS = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)
    print("connected")
except OSError as failure:
    print("failed")
"""


class Site(BaseHTTPRequestHandler):
    """Answers every GET with a line, `/large` with 3 MiB, and POST with what was sent."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str]]]

    def do_GET(self) -> None:
        self._answer(b"x" * (3 << 20) if self.path == "/large" else BODY)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(200)
        self.send_header("Keep-Alive", "timeout=5")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@dataclass
class Server:
    port: int
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])


@contextlib.contextmanager
def serving(address: str = HERE, port: int = 0) -> Generator[Server]:
    seen: list[tuple[str, dict[str, str]]] = []
    handler = type("OneSite", (Site,), {"seen": seen})
    server = ThreadingHTTPServer((address, port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield Server(server.server_port, seen)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


class Names:
    """A resolver that gives its answers one after the other, the last one again and again."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def network(server: Server, *, resolver: Names | None = None, **options: Any) -> Network:
    hosts = [f"site.example:{server.port}"]
    return Network(hosts, resolver=resolver or Names([HERE]), exempt=options.pop("exempt", [HERE]), **options)


def lines(ran: Ran) -> list[str]:
    assert ran.exit_code == 0, ran
    return ran.stdout.splitlines()


@pytest.fixture(params=FULL, ids=ids(FULL))
def reaching(request: pytest.FixtureRequest, open_box: Callable[..., Box], server: Server) -> Callable[..., Box]:
    """Opens a sandbox of the full level, by each launcher, that may reach `site.example`."""

    def opening(**options: Any) -> Box:
        return open_box(request.param, allow_net=network(server, **options))

    return opening


@pytest.fixture
def native(open_box: Callable[..., Box], server: Server) -> Callable[..., Box]:
    def opening(**options: Any) -> Box:
        return open_box(("full", "native"), allow_net=network(server, **options))

    return opening


def test_an_allowed_host_is_reached_by_get_by_tunnel_and_by_curl(reaching: Callable[..., Box], server: Server) -> None:
    told: list[Request] = []
    box = reaching(on_request=told.append)
    url = f"http://site.example:{server.port}"
    assert lines(box.run("python3", "-c", GET, f"{url}/page?q=1")) == ["200 hello from outside"]
    assert lines(box.run("python3", "-c", TUNNEL, f"site.example:{server.port}")) == [
        "HTTP/1.1 200 Connection established",
        "hello from outside",
    ]
    if shutil.which("curl"):
        assert lines(box.run("curl", "-sS", f"{url}/curl")) == ["hello from outside"]
    paths = [path for path, _ in server.seen]
    assert paths[:2] == ["/page?q=1", "/through"]
    requests = box.sandbox.take_requests()
    assert [each.method for each in requests[:2]] == ["GET", "CONNECT"]
    assert all(each.allowed and each.host == "site.example" and not each.open for each in requests)
    assert all(len(BODY) < each.bytes < 2000 for each in requests)
    assert told == requests
    assert box.sandbox.take_requests() == []


def test_the_interpreter_reaches_it_from_cell_to_cell(reaching: Callable[..., Box], server: Server) -> None:
    box = reaching()

    async def cells() -> tuple[str, str]:
        interpreter = await box.sandbox.interpreter()
        code = f"import urllib.request as r; r.urlopen('http://site.example:{server.port}/', timeout=9).read().decode()"
        found = [(await interpreter.execute(code, 20)).value for _ in range(2)]
        await box.sandbox.aclose()
        return found[0], found[1]

    assert asyncio.run(cells()) == (repr(BODY.decode()),) * 2
    assert len(box.sandbox.take_requests()) == 2


def test_every_other_host_and_port_is_refused_and_never_looked_up(reaching: Callable[..., Box], server: Server) -> None:
    names = Names([HERE])
    box = reaching(resolver=names)
    for url in (
        f"http://evil.example:{server.port}/",
        f"http://sub.site.example:{server.port}/",
        f"http://site.example.evil.example:{server.port}/",
        "http://site.example/",
        "http://169.254.169.254/latest/meta-data/",
        f"http://127.0.0.1.:{server.port}/",
    ):
        assert lines(box.run("python3", "-c", GET, url))[0].startswith("403 agent: "), url
    assert lines(box.run("python3", "-c", TUNNEL, "evil.example:443")) == ["HTTP/1.1 403 Forbidden"]
    requests = box.sandbox.take_requests()
    assert len(requests) == 7
    assert not any(each.allowed for each in requests)
    assert all("is not among the hosts" in each.reason for each in requests)
    assert names.asked == []
    assert server.seen == []


def test_without_the_proxy_there_is_no_network(reaching: Callable[..., Box], server: Server) -> None:
    box = reaching()
    assert lines(box.run("python3", "-c", CONNECTS, HERE, str(server.port))) == ["failed"]
    assert lines(box.run("python3", "-c", CONNECTS, "site.example", str(server.port))) == ["failed"]
    assert lines(box.run("python3", "-c", CONNECTS, "1.1.1.1", "443")) == ["failed"]
    assert server.seen == []


def test_a_proxy_of_the_sandbox_cannot_be_reached_from_the_host(native: Callable[..., Box]) -> None:
    box = native()
    connected: list[bool] = []

    async def main() -> None:
        running = asyncio.create_task(box.sandbox.run(["sleep", "1"]))
        await asyncio.sleep(0.5)
        with contextlib.suppress(OSError):
            socket.create_connection((HERE, PORT), 1).close()
            connected.append(True)
        await running

    asyncio.run(main())
    assert not connected


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "168.63.129.16", "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1",
     "2002:7f00:1::", "64:ff9b::7f00:1", "2001:0:7f00:1::"],
)  # fmt: skip
def test_a_name_with_an_address_that_is_not_public_is_refused(address: str) -> None:
    rules = Network(["site.example"], resolver=Names(["93.184.215.14", address]))
    request = Request("GET", "site.example", 80)
    with pytest.raises(Exception, match="only public addresses"):
        asyncio.run(rules.addresses(request))
    assert not request.allowed


def test_an_allowed_address_that_is_not_public_is_refused_too() -> None:
    rules = Network(["169.254.169.254", "[::1]:80"])
    for host in ("169.254.169.254", "::1"):
        with pytest.raises(Exception, match="only public addresses"):
            asyncio.run(rules.addresses(Request("GET", host, 80)))


def test_a_private_answer_is_a_403_inside(native: Callable[..., Box], server: Server) -> None:
    box = native(exempt=[])
    told = lines(box.run("python3", "-c", GET, f"http://site.example:{server.port}/"))
    assert told == ["403 agent: the address of site.example is this machine itself (loopback); only public addresses "
                    "can be reached"]  # fmt: skip
    assert server.seen == []


def test_a_name_that_answers_differently_the_second_time_gains_nothing(
    native: Callable[..., Box], server: Server
) -> None:
    names = Names([HERE], ["127.0.0.2"])
    with serving("127.0.0.2", server.port) as other:
        box = native(resolver=names)
        url = f"http://site.example:{server.port}/"
        assert lines(box.run("python3", "-c", GET, url)) == ["200 hello from outside"]
        assert names.asked == ["site.example"]
        assert lines(box.run("python3", "-c", GET, url))[0].startswith("403 ")
        assert (len(server.seen), len(other.seen)) == (1, 0)


def test_headers_for_the_proxy_stop_at_the_proxy_and_nothing_of_ours_is_added(
    native: Callable[..., Box], server: Server
) -> None:
    heads = [
        f"POST http://SITE.example:{server.port} HTTP/1.1",
        "Host: other.example",
        "Connection: keep-alive, X-Own",
        "X-Own: 1",
        "Keep-Alive: 5",
        "Proxy-Authorization: Basic eDp5",
        "Proxy-Connection: keep-alive",
        "Upgrade: h2c",
        "X-Kept: yes",
        "Content-Length: 4",
    ]
    request = "\\r\\n".join([*heads, "", "bodyGET http://site.example/two HTTP/1.1", "", ""])
    assert lines(native().run("python3", "-c", RAW, request)) == ["HTTP/1.1 200 OK"]
    assert server.seen == [
        (
            "/",
            {
                "host": f"site.example:{server.port}",
                "x-kept": "yes",
                "content-length": "4",
                "connection": "close",
            },
        )
    ]


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET / HTTP/1.1\\r\\nHost: site.example\\r\\n\\r\\n", 400),
        ("GET https://site.example/ HTTP/1.1\\r\\n\\r\\n", 400),
        ("GET ftp://site.example/ HTTP/1.1\\r\\n\\r\\n", 400),
        ("GET http://user@site.example/ HTTP/1.1\\r\\n\\r\\n", 400),
        ("GET http://site.example\\\\@evil.example/ HTTP/1.1\\r\\n\\r\\n", 400),
        ("GET http://site.example:99999/ HTTP/1.1\\r\\n\\r\\n", 400),
        ("CONNECT site.example HTTP/1.1\\r\\n\\r\\n", 400),
        ("GET http://site.example/ HTTP/1.1\\r\\n folded: x\\r\\n\\r\\n", 400),
        ("GET http://site.example/ HTTP/1.1\\r\\nA: b\\nC: d\\r\\n\\r\\n", 400),
        ("POST http://site.example/ HTTP/1.1\\r\\nContent-Length: 1\\r\\nContent-Length: 2\\r\\n\\r\\n", 400),
        ("POST http://site.example/ HTTP/1.1\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n", 411),
        ("\\x16\\x03\\x01\\r\\n\\r\\n", 400),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(server: Server, request_text: str, status: int) -> None:
    from agentrunner.sandbox import proxy

    rules = Network(["site.example"], resolver=Names([HERE]))
    raw = request_text.encode().decode("unicode_escape").encode("latin-1")

    async def ask() -> bytes:
        ours, theirs = socket.socketpair()
        listener = socket.create_server((HERE, 0))
        address = listener.getsockname()
        socket.send_fds(theirs, [b"x"], [listener.fileno()])
        listener.close()
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(proxy.serve(rules, ours, over))
        reader, writer = await asyncio.open_connection(*address)
        writer.write(raw)
        answer = await reader.read()
        writer.close()
        over.set_result(None)
        await running
        theirs.close()
        return answer

    assert asyncio.run(ask()).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_request_that_takes_too_much_is_cut_and_the_session_has_an_end(
    native: Callable[..., Box], server: Server
) -> None:
    box = native(max_request_bytes=1 << 20, max_session_bytes=(1 << 20) + 1000)
    url = f"http://site.example:{server.port}"
    ran = box.run("python3", "-c", GET, f"{url}/large")
    assert "IncompleteRead" in ran.stderr
    [cut] = box.sandbox.take_requests()
    assert cut.reason.startswith("cut after ")
    assert 0 < cut.bytes <= 1 << 20
    assert "IncompleteRead" in box.run("python3", "-c", GET, f"{url}/large").stderr
    [cut] = box.sandbox.take_requests()
    assert "used up" in cut.reason


def test_connections_and_remembered_requests_are_bounded(native: Callable[..., Box]) -> None:
    box = native()
    code = (
        "import socket\nheld = []\n"
        "for _ in range(60):\n    held.append(socket.create_connection(('127.0.0.1', 3128), 5))\n"
        "import time; time.sleep(0.5)\nalive = 0\n"
        "for each in held:\n    each.setblocking(False)\n    try:\n        each.recv(1)\n"
        "    except BlockingIOError:\n        alive += 1\n    except OSError:\n        pass\n"
        "print(alive)"
    )
    assert lines(box.python(code)) == ["32"]


def test_the_proxy_ends_with_the_program_and_leaves_no_task(native: Callable[..., Box], server: Server) -> None:
    box = native()

    async def main() -> float:
        hang = (
            f"import socket\ns = socket.create_connection(('127.0.0.1', {PORT}))\n"
            f"s.sendall(b'CONNECT site.example:{server.port} HTTP/1.1\\r\\n\\r\\n')\ns.recv(99)\n"
            "import os; os.kill(os.getpid(), 9)"
        )
        await box.sandbox.run(["python3", "-c", hang])
        await asyncio.sleep(0.1)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        began = time.monotonic()
        running = asyncio.create_task(box.sandbox.run(["sleep", "60"]))
        await asyncio.sleep(0.3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return time.monotonic() - began

    assert asyncio.run(main()) < 3
    [request] = box.sandbox.take_requests()
    assert (request.method, request.allowed, request.open) == ("CONNECT", True, False)


def test_the_variables_are_there_only_with_hosts_and_a_missing_program_is_127(
    reaching: Callable[..., Box], open_box: Callable[..., Box]
) -> None:
    with_hosts = reaching()
    shown = lines(with_hosts.run("sh", "-c", "echo $https_proxy $HTTP_PROXY"))
    assert shown == [f"http://{HERE}:{PORT} http://{HERE}:{PORT}"]
    assert with_hosts.run("no-such-program").exit_code == 127
    assert with_hosts.run("sh", "-c", "yes | head -1").stderr == ""
    without = open_box(("full", "native"))
    shown = without.run("env").stdout.upper()
    assert "PROXY" not in shown
    assert without.sandbox.hosts == ()
    assert lines(without.run("python3", "-c", CONNECTS, HERE, str(PORT))) == ["failed"]


def test_below_the_full_level_hosts_are_not_reached_and_it_says_so(
    open_box: Callable[..., Box], server: Server
) -> None:
    box = open_box(("partial", "auto"), allow_net=network(server))
    assert any("no network at all" in sentence for sentence in box.sandbox.lacks)
    assert box.sandbox.hosts == ()
    assert "PROXY" not in box.run("env").stdout.upper()
    assert lines(box.run("python3", "-c", CONNECTS, HERE, str(server.port))) == ["failed"]


def test_hosts_are_whole_names_with_or_without_a_port() -> None:
    assert parse_hosts(["API.Example.org."]) == {("api.example.org", 80), ("api.example.org", 443)}
    assert parse_hosts(["api.example.org:8443", "[2606:4700::1111]:443"]) == {
        ("api.example.org", 8443),
        ("2606:4700::1111", 443),
    }
    assert ("xn--bcher-kva.example", 443) in parse_hosts(["bücher.example"])
    for wrong in (
        "*.example.org",
        "https://example.org",
        "example.org:0",
        "example.org:99999",
        "",
        "a b",
        "x/y",
        "a@b",
    ):
        with pytest.raises(UsageError, match="is not a host"):
            parse_hosts([wrong])


def test_local_servers_of_the_program_are_reached_without_the_proxy(native: Callable[..., Box]) -> None:
    assert VARIABLES["no_proxy"]
    code = (
        "import http.server, threading, urllib.request\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n"
        "threading.Thread(target=server.handle_request, daemon=True).start()\n"
        "print(urllib.request.urlopen(f'http://localhost:{server.server_port}/', timeout=9).status)"
    )
    box = native()
    assert lines(box.python(code)) == ["200"]
    assert box.sandbox.take_requests() == []

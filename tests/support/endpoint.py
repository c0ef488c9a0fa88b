"""A loopback server that plays an OpenAI-compatible endpoint from a script, records what it is sent and keeps a bill.

    with Endpoint([call("write_file", path="a.txt", content="x"), text("done")]) as endpoint:
        ... base_url=endpoint.base_url ...
    assert endpoint.requests[0].json["messages"][0]["role"] == "system"

Standard library only. It answers /chat/completions and /responses, streamed when asked to, and Azure's paths; to
/embeddings it says only what the script gives it as a body.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

from tests.support import speech

JSON = dict[str, Any]
Fault = Literal["", "cut_body", "cut_stream", "stall", "drop", "hang"]


@dataclass(frozen=True)
class Answer:
    """One scripted answer. `calls` are (name, arguments) pairs; arguments may be a string, sent as it is."""

    text: str | None = None
    calls: tuple[tuple[str, Any], ...] = ()
    thoughts: JSON | None = None
    finish: str = ""
    usage: JSON | None = None
    """Overrides what the endpoint would report."""
    extra: JSON = field(default_factory=dict)
    """Further fields of the message, e.g. reasoning_content."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Sent as it is, in place of an answer."""
    delay_s: float = 0.0
    after: threading.Event | None = None
    """What it waits for, a minute at most."""
    fault: Fault = ""
    """cut_body: the connection closes in the middle of the body; cut_stream: a stream that ends early, but cleanly;
    stall: a stream that stops in the middle; drop: the connection closes without an answer; hang: never answers."""
    billed: bool | None = None
    """Whether it is on the bill; by default, a success is."""


Script = Sequence["Answer | Callable[[JSON], Answer]"] | Callable[[JSON], Answer]


def call(name: str, thoughts: JSON | None = None, /, **arguments: Any) -> Answer:
    return Answer(calls=((name, arguments),), thoughts=thoughts)


def calls(*answers: Answer) -> Answer:
    """One answer with the calls of all of these; the thoughts of the first."""
    return replace(answers[0], calls=tuple(one for answer in answers for one in answer.calls))


def text(content: str, **changes: Any) -> Answer:
    return Answer(text=content, **changes)


def error(
    status: int, message: str = "", *, code: str | None = None, retry_after: float | str | None = None, **changes: Any
) -> Answer:
    """An error answer in OpenAI's shape. `retry_after` becomes the header of that name."""
    body = json.dumps({"error": {"message": message or f"scripted {status}", "type": "scripted", "code": code}})
    headers = {"Content-Type": "application/json"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Answer(status=status, body=body.encode(), headers=headers | changes.pop("headers", {}), **changes)


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    json: JSON
    status: int = 0
    """What it was answered with; 0 for a dropped or hanging connection."""


@dataclass
class Bill:
    """What this endpoint would charge for, whether it reported it or not."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class Endpoint:
    """Runs while the `with` block does. The parameters switch on the ways of endpoints that exist:

    tools=False: 400 on `tools`; calls are written as a JSON object into the text.
    usage: True, False (not reported), or "bound" (as many tokens as bytes came in, and as many out as the cap allows).
    ids: "unique", "missing" or "repeated" call ids.
    cap_field: the only field for the output cap that is understood; the other one is a 400.
    stream_options, schema=False: 400 on `stream_options`, on `response_format`.
    key: 401 for another. azure: only Azure's path with a deployment and an api-version is known.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        tools: bool = True,
        usage: bool | Literal["bound"] = True,
        ids: Literal["unique", "missing", "repeated"] = "unique",
        cap_field: str | None = None,
        stream_options: bool = True,
        schema: bool | Sequence[str] = True,
        key: str | None = None,
        azure: bool = False,
        latency_s: float = 0.0,
        port: int = 0,
    ) -> None:
        self.script = script
        self.tools, self.usage, self.ids, self.cap_field = tools, usage, ids, cap_field
        self.stream_options, self.key, self.azure, self.latency_s = stream_options, key, azure, latency_s
        self.schema: Sequence[str] = ("json_schema", "json_object") if schema is True else (schema or ())
        self.requests: list[Received] = []
        self.bill = Bill()
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._answered = 0
        self._connections: set[socket.socket] = set()
        self.connections = 0
        self._server = _Server(("127.0.0.1", port), _handler_for(self))

    def __enter__(self) -> Self:
        # A short poll interval, so that leaving the block does not cost every test half a second.
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        with self._lock:
            for connection in self._connections:
                _shut(connection)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}" + ("" if self.azure else "/v1")

    @property
    def answered(self) -> list[Received]:
        """The requests that got a 200."""
        return [request for request in self.requests if request.status == 200]

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
            self.connections += 1

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def answer_to(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[JSON, Answer]:
        """Record the request and take the next answer of the script, unless this endpoint cannot understand it."""
        try:
            data = json.loads(body)
        except ValueError:
            data = {}
        with self._lock:
            answer = self._objection(path, headers, data) or self._next(data)
            status = 0 if answer.fault in ("drop", "hang") else answer.status
            self.requests.append(Received(method, path, headers, body, data, status))
            if answer.usage is None:
                answer = replace(answer, usage=self._count(answer, data, body))
            if answer.billed if answer.billed is not None else answer.status == 200:
                assert answer.usage is not None
                self.bill.requests += 1
                self.bill.input_tokens += int(answer.usage.get("prompt_tokens", 0))
                self.bill.output_tokens += int(answer.usage.get("completion_tokens", 0))
        return data, answer

    def reported(self, answer: Answer) -> JSON | None:
        return answer.usage if self.usage else None

    def _objection(self, path: str, headers: Mapping[str, str], data: JSON) -> Answer | None:
        url = urlsplit(path)
        known = ("/chat/completions", "/responses", "/embeddings")
        if not url.path.endswith(known) or (not self.azure and not url.path.startswith("/v1/")):
            return error(404, f"unknown path {url.path}")
        deployed = "/openai/deployments/" in url.path or url.path == "/openai/responses"
        if self.azure and not (deployed and parse_qs(url.query).get("api-version")):
            return error(404, "Resource not found")
        sent = headers.get("api-key") if self.azure else headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is not None and sent != self.key:
            return error(401, f"Incorrect API key provided: {sent}", code="invalid_api_key")
        if data.get("tools") and not self.tools:
            return error(400, "this model does not support tools")
        for name in ("max_tokens", "max_completion_tokens"):
            if self.cap_field not in (None, name) and name in data:
                return error(400, f"Unsupported parameter: '{name}' is not supported", code="unsupported_parameter")
        if "stream_options" in data and not self.stream_options:
            return error(400, "Unrecognized request argument supplied: stream_options")
        wanted = data.get("response_format", {}).get("type")
        if wanted and wanted not in self.schema:
            return error(400, f"response_format of type {wanted!r} is not supported")
        return None

    def _next(self, data: JSON) -> Answer:
        if callable(self.script):
            return self.script(data)
        if self._answered >= len(self.script):
            return error(410, "the script of this endpoint ran out")
        item = self.script[self._answered]
        self._answered += 1
        return item(data) if callable(item) else item

    def _count(self, answer: Answer, data: JSON, body: bytes) -> JSON:
        if self.usage == "bound":
            cap = data.get("max_tokens") or data.get("max_completion_tokens") or data.get("max_output_tokens") or 0
            return speech.usage(len(body), cap)
        said = len(answer.text or "") + sum(len(json.dumps(one)) for one in answer.calls)
        return speech.usage(max(1, len(body) // 4), max(1, said // 4))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Idle persistent connections would keep their threads, and so the test, waiting.
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


def _handler_for(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def setup(self) -> None:
            super().setup()
            endpoint.opened(self.connection)

        def finish(self) -> None:
            endpoint.closed(self.connection)
            super().finish()

        def log_message(self, format: str, *args: Any) -> None:
            """Standard error belongs to the test."""

        def do_GET(self) -> None:
            self._write(404, {"Content-Type": "application/json"}, b'{"error":{"message":"not here"}}')

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            data, answer = endpoint.answer_to("POST", self.path, headers, body)
            if endpoint.latency_s or answer.delay_s:
                time.sleep(endpoint.latency_s + answer.delay_s)
            if answer.after is not None:
                answer.after.wait(timeout=60)
            if answer.fault == "hang":
                endpoint.closing.wait()
            if answer.fault in ("hang", "drop"):
                self._hang_up()
            elif answer.body is not None:
                self._write(answer.status, answer.headers, answer.body, cut=answer.fault == "cut_body")
            elif data.get("stream"):
                self._stream(answer, self._parts(data, answer))
            else:
                says = speech.response if self._is_responses() else speech.completion
                said = says(data, answer, endpoint.reported(answer), endpoint.ids)
                self._write(
                    answer.status,
                    {"Content-Type": "application/json"} | dict(answer.headers),
                    json.dumps(said).encode(),
                    cut=answer.fault == "cut_body",
                )

        def _is_responses(self) -> bool:
            return urlsplit(self.path).path.endswith("/responses")

        def _parts(self, data: JSON, answer: Answer) -> list[bytes]:
            says = speech.response_stream if self._is_responses() else speech.completion_stream
            return says(data, answer, endpoint.reported(answer), endpoint.ids)

        def _write(self, status: int, headers: Mapping[str, str], body: bytes, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.wfile.flush()
            if cut:
                self._hang_up()

        def _stream(self, answer: Answer, parts: list[bytes]) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if answer.fault:
                parts = parts[: len(parts) // 2]
            for part in parts:
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                self.wfile.flush()
            if answer.fault == "stall":
                endpoint.closing.wait()
            if answer.fault in ("cut_body", "stall"):
                self._hang_up()
            else:
                self.wfile.write(b"0\r\n\r\n")
                self.wfile.flush()

        def _hang_up(self) -> None:
            self.close_connection = True
            _shut(self.connection)

    return Handler


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return

"""Who is let in: hosts, origins, keys, rates; and how the server begins and ends."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import httpx2
import openai
import pytest

from agentrunner.server.faults import ApiError
from agentrunner.server.guarding import Policy
from tests.server.running import Running, serving, start
from tests.support.program import Agent


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "127.0.0.1:1"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "localhost.evil.example"}, 403),
        ({"host": "10.0.0.1"}, 403),
        ({"host": ""}, 403),
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "file://localhost"}, 403),
    ],
)
def test_only_pages_and_names_of_this_machine_are_let_in(
    http: httpx2.Client, headers: dict[str, str], status: int
) -> None:
    answer = http.get("/models", headers=headers)
    assert answer.status_code == status
    assert answer.headers["x-request-id"].startswith("req_")
    assert status == 200 or answer.json()["error"]["code"] in ("host_not_allowed", "origin_not_allowed")


def test_without_a_key_or_with_a_wrong_one_nothing_is_answered(shared: Running, key: str) -> None:
    for headers, code in (
        ({}, None),
        ({"authorization": "Bearer"}, None),
        ({"authorization": f"Basic {key}"}, None),
        ({"authorization": f"Bearer {key}x"}, "invalid_api_key"),
        ({"api-key": "nonsense"}, "invalid_api_key"),
    ):
        answer = httpx2.get(f"{shared.url}/v1/models", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)
        assert key not in answer.text
    for headers in ({"authorization": f"bearer {key}"}, {"api-key": key}):
        assert httpx2.get(f"{shared.url}/v1/models", headers=headers).status_code == 200


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_azures_client_works_unchanged(shared: Running, key: str) -> None:
    with openai.AzureOpenAI(azure_endpoint=shared.url, api_key=key, api_version="2024-05-01-preview") as client:
        made = client.beta.assistants.create(model="deployment", tools=[{"type": "code_interpreter"}])
        assert [each.id for each in client.beta.assistants.list()] == [made.id]
        assert client.files.create(file=("a.txt", b"x"), purpose="assistants").bytes == 1
    answer = httpx2.get(f"{shared.url}/openai/assistants", headers={"api-key": key})
    assert answer.json()["error"]["param"] == "api-version"
    assert httpx2.get(f"{shared.url}/openai/v1/assistants", headers={"api-key": key}).status_code == 200


def test_without_any_keys_everything_is_accepted_on_this_machine(agent: Agent) -> None:
    agent.replayable = False
    with serving(agent) as server:
        for headers in ({}, {"authorization": "Bearer whatever"}):
            assert httpx2.get(f"{server.url}/v1/models", headers=headers).status_code == 200
        secret = server.new_key("late")
        assert httpx2.get(f"{server.url}/v1/models").status_code == 401
        good = {"authorization": f"Bearer {secret}"}
        assert httpx2.get(f"{server.url}/v1/models", headers=good).status_code == 200
        done = agent("keys", "rm", "late")
        assert done.out == "removed late\n"
        assert "that was the last one" in done.err
        assert httpx2.get(f"{server.url}/v1/models", headers=good).status_code == 200
        assert server.stop() == 143


def test_beyond_this_machine_there_is_no_server_without_keys(agent: Agent) -> None:
    done = agent("serve", "--dry-run", "--port", "0", "--host", "0.0.0.0")
    assert done.code == 2
    assert "agent keys create" in done.err
    secret = agent("keys", "create", "office").out.strip()
    with serving(agent, "--host", "0.0.0.0", "--allow-host", "agents.example") as server:
        url = f"http://127.0.0.1:{server.url.rpartition(':')[2]}/v1/models"
        good = {"authorization": f"Bearer {secret}"}
        for host, status in (("agents.example", 200), ("192.0.2.7", 200), ("evil.example", 403)):
            assert httpx2.get(url, headers=good | {"host": host}).status_code == status
        assert httpx2.get(url).status_code == 401
        agent("keys", "rm", "office")
        assert httpx2.get(url).status_code == 401


def test_keys_are_kept_as_hashes_only(agent: Agent) -> None:
    done = agent("keys", "create", "office")
    secret = done.out.strip()
    assert secret.startswith("sk-agent-")
    assert "every request needs a key" in done.err
    assert all(secret.encode() not in path.read_bytes() for path in agent.home.rglob("*") if path.is_file())
    (listed,) = (json.loads(line) for line in agent("keys", "list", "--json").out.splitlines())
    assert (listed["name"], listed["hint"]) == ("office", secret[-4:])
    assert "office" in agent("keys", "list").out
    assert agent("keys", "create", "office").code == 2
    assert agent("keys", "create", "\x1b[31m").code == 2
    assert agent("keys", "create", "two\nlines").code == 2
    assert agent("keys", "rm", "other").code == 2


def test_a_key_that_asks_too_often_is_told_when_to_come_back(agent: Agent) -> None:
    with serving(agent, "--requests-per-minute", "60") as server:
        assert {httpx2.get(f"{server.url}/v1/models").status_code for _ in range(15)} == {200}  # there are no keys
        good = {"authorization": f"Bearer {server.new_key('eager')}"}
        answers = [httpx2.get(f"{server.url}/v1/models", headers=good) for _ in range(15)]
        codes = [answer.status_code for answer in answers]
        assert codes[:10] == [200] * 10
        assert 429 in codes
        refused = answers[codes.index(429)]
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert 0 < int(refused.headers["retry-after-ms"]) <= 1000


def test_a_bucket_fills_again_and_each_owner_has_one() -> None:
    now = [0.0]

    async def anybody(secret: str | None) -> str | None:
        return "x"

    policy = Policy(anybody, requests_per_minute=6, clock=lambda: now[0])
    policy.spend("a")
    with pytest.raises(ApiError) as refused:
        policy.spend("a")
    assert refused.value.retry_after_s == pytest.approx(10)
    policy.spend("b")
    now[0] = 10.1
    policy.spend("a")
    with pytest.raises(ApiError):
        policy.spend("a")


def test_the_server_starts_soon_says_what_to_change_and_ends_on_ctrl_c(agent: Agent) -> None:
    begun = time.monotonic()
    process = agent.start("serve", "--dry-run", "--port", "0")
    assert process.stdout is not None
    said = b""
    while b"api_key" not in said:
        said += os.read(process.stdout.fileno(), 10_000)
    took = time.monotonic() - begun
    assert b'base_url="http://127.0.0.1:' in said
    assert took < 6  # measured alone it is below 1 s; here others use the machine too
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_a_port_that_is_taken_is_said_in_one_line(agent: Agent) -> None:
    with serving(agent) as server:
        port = server.url.rpartition(":")[2]
        done = agent("serve", "--dry-run", "--port", port)
        assert done.code == 2
        assert "--port" in done.err
        assert len(done.err.splitlines()) == 1
    assert agent("serve", "--dry-run", "--host", "no.such.host.invalid").code == 2
    assert agent("serve", "--dry-run", "--port", "70000").code == 2


def test_no_key_for_the_endpoint_is_said_at_the_start(agent: Agent) -> None:
    done = agent("serve", "--port", "0")
    assert done.code == 2
    assert "OPENAI_API_KEY" in done.err


def test_two_servers_may_share_a_home(agent: Agent) -> None:
    with serving(agent) as first:
        second = start(agent)
        try:
            made = httpx2.post(f"{first.url}/v1/threads", json={}).json()["id"]
            assert httpx2.get(f"{second.url}/v1/threads/{made}").status_code == 200
        finally:
            second.stop()


def test_what_is_kept_is_private(agent: Agent) -> None:
    with serving(agent) as server:
        httpx2.post(f"{server.url}/v1/files", files={"file": ("a", b"x")}, data={"purpose": "assistants"})
    for path in [agent.home, *agent.home.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert Path(agent.home / "agent.db").exists()


def test_objects_are_listed_shown_and_removed_from_the_terminal(agent: Agent) -> None:
    with serving(agent) as server:
        url = f"{server.url}/v1"
        file = httpx2.post(f"{url}/files", files={"file": ("a.txt", b"x y")}, data={"purpose": "assistants"}).json()[
            "id"
        ]
        made = {
            "assistants": httpx2.post(f"{url}/assistants", json={"model": "m", "name": "\x1b[31mred"}).json()["id"],
            "threads": httpx2.post(f"{url}/threads", json={"messages": [{"role": "user", "content": "hello"}]}).json()[
                "id"
            ],
            "files": file,
            "stores": httpx2.post(f"{url}/vector_stores", json={"file_ids": [file]}).json()["id"],
        }
        paths = {"assistants": "assistants", "threads": "threads", "files": "files", "stores": "vector_stores"}
        for kind in ("assistants", "threads", "stores", "files"):
            listed = agent(kind, *(["list", "--json"] if kind == "files" else []))
            assert made[kind] in listed.out
            assert "default" in listed.out
            assert "\x1b" not in listed.out
            shown = json.loads(agent(kind, "show", made[kind][:12]).out)
            assert shown["id"] == made[kind]
            if kind == "threads":
                assert shown["messages"][0]["content"][0]["text"]["value"] == "hello"
            if kind == "stores":
                assert shown["files"][0]["id"] == file
            assert agent(kind, "rm", made[kind], made[kind][:12]).out == f"removed {made[kind]}\n"
            assert httpx2.get(f"{url}/{paths[kind]}/{made[kind]}").status_code == 404
        assert agent("files", "show", file).code == 2
        done = agent("threads")
        assert (done.out, done.code) == ("", 0)


def test_small_answers_are_sent_at_once(http: httpx2.Client) -> None:
    """Not after the 40 ms in which TCP would wait for more."""
    took: list[float] = []
    for _ in range(20):
        begun = time.perf_counter()
        http.get("/models")
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.03

"""A tool that a session was made without cannot be reached: not by a script, an endpoint, a resume, or a variable."""

import pytest

from tests.support.endpoint import Endpoint
from tests.support.endpoint import call as calls
from tests.support.program import Agent, finish, says

FETCH = says("web_fetch", url="https://www.iana.org/")


def refusals(done: object) -> list[str]:
    return [event["content"] for event in done.of_type("tool.finished")]  # type: ignore[attr-defined]


def test_a_script_does_not_reach_it(agent: Agent) -> None:
    script = agent.script(FETCH, says("WEB_FETCH", url="https://www.iana.org/"), finish())
    done = agent("run", "see https://www.iana.org/", "--script", script, "--no-web", "--yes", "--json")
    first, second, _ = refusals(done)
    assert "There is no tool named 'web_fetch'" in first
    assert "There is no tool named 'WEB_FETCH'" in second
    names = {spec["name"] for spec in agent("sessions", "export", agent.session()).events[0].get("tools", [])}
    assert "web_fetch" not in names


@pytest.mark.parametrize("environment", [{}, {"AGENT_NO_WEB": "false"}, {"AGENT_NO_WEB": "0", "AGENT_YES": "true"}])
def test_a_resumed_session_does_not_reach_it(agent: Agent, environment: dict[str, str]) -> None:
    script = agent.script(says("ask_user", question="?"), FETCH, finish())
    assert agent("run", "see https://www.iana.org/", "--script", script, "--no-web").code == 10
    (agent.folder / "agent.toml").write_text("no_web = false\n")
    done = agent("resume", agent.session(), "--answer", "y", "--json", env=environment)
    assert done.code == 0, done.err
    assert any("There is no tool named 'web_fetch'" in text for text in refusals(done))


def test_an_endpoint_does_not_reach_it_by_another_name(agent: Agent) -> None:
    names = ["web_fetch", "functions.web_fetch", "Web_Fetch", "web_fetch ", "web\u200b_fetch", "w\u0435b_fetch"]
    answers = [calls(name, url="https://www.iana.org/") for name in names]
    with Endpoint([*answers, calls("finish", answer="done")]) as endpoint:
        options = ("--base-url", endpoint.base_url, "--model", "m", "--no-web", "--yes", "--json")
        done = agent("run", "see https://www.iana.org/", *options)
    assert done.code == 0, done.err + done.out
    told = refusals(done)[: len(names)]
    assert len(told) == len(names)
    assert all("There is no tool named" in text for text in told)

"""Requests made of the published specification: none makes the server fail, and every answer is what it promises."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.server.running import Running, serving
from tests.server.world import SCRIPT, World, ids_in
from tests.support.program import Agent

SPECIFICATION = json.loads((Path(__file__).parent / "specification" / "assistants.json").read_text(encoding="utf-8"))
OFTEN = partial(
    settings, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
EVENTS = {
    "thread.created": "ThreadObject",
    "thread.run.step.delta": "RunStepDeltaObject",
    "thread.message.delta": "MessageDeltaObject",
    "thread.run.step": "RunStepObject",
    "thread.run": "RunObject",
    "thread.message": "MessageObject",
}
"""What a stream's events hold, by how their names begin; the first that fits."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("specification")
    script = folder / "script.yaml"
    script.write_text(SCRIPT, encoding="utf-8")
    with serving(Agent(folder), "--script", str(script), "--requests-per-minute", "0") as started:
        yield started


def check_events(text: str) -> list[Any]:
    """The objects of a stream, each as its event's name says."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("event: ")]
    found: list[Any] = []
    for name, data in ((lines[0][7:], lines[1].removeprefix("data: ")) for lines in blocks):
        if name in ("done", "error"):
            assert name == "error" or data == "[DONE]"
            continue
        schema = next(schema for prefix, schema in EVENTS.items() if name.startswith(prefix))
        found.append(json.loads(data))
        jsonschema.validate(found[-1], SPECIFICATION | {"$ref": f"#/components/schemas/{schema}"})
    assert blocks[-1][0] == "event: done", text[-500:]
    return found


def check_answer(case: Any, answer: Any) -> Any:
    """What was said, when it is what the specification says; raises what is not."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

    case.validate_response(answer, checks=[not_a_server_error])
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        assert error["message"]
        return None
    (kind,) = answer.headers["content-type"]
    if kind.startswith("text/event-stream"):
        return check_events(answer.text)
    if case.operation.path == "/files/{file_id}/content":  # the specification calls any file JSON
        assert kind == "application/octet-stream"
        return None
    case.validate_response(answer, checks=[content_type_conformance, response_schema_conformance])
    return answer.json()


class Cases:
    """Sends requests; knows how often each status came, and all that was wrong."""

    def __init__(self, running: Running, session: Any, world: World) -> None:
        self.url, self.session, self.world = f"{running.url}/v1", session, world
        self.statuses: Counter[int] = Counter()
        self.wrong: dict[str, str] = {}

    def send(self, case: Any) -> None:
        case.path_parameters = self.world.aim_path(case.path_parameters)
        case.body = self.world.aim(case.body)
        answer = case.call(base_url=self.url, session=self.session, timeout=30)
        self.statuses[answer.status_code] += 1
        try:
            said = check_answer(case, answer)
        except (Exception, BaseExceptionGroup) as error:  # each may come many times, and hide no other
            errors = error.exceptions if isinstance(error, BaseExceptionGroup) else [error]
            what = "\n".join(map(str, errors))
            self.wrong.setdefault(f"{case.operation.label}: {what[:100]}", f"{what}\n{case.as_curl_command()}")
        else:
            self.world.learn(said, ids_in(case.path_parameters))


def check(running: Running, rounds: int, each: int) -> Counter[int]:
    """In every round, with new objects, so many requests of each operation; how often each status came."""
    import requests
    import schemathesis
    from schemathesis.generation import GenerationMode

    schema = schemathesis.openapi.from_dict(SPECIFICATION)
    operations: list[Any] = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 51
    random = Random()
    with (
        httpx2.Client(base_url=f"{running.url}/v1", timeout=30) as http,
        requests.Session() as session,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of how requests are made up
        cases = Cases(running, session, World(http, random))
        for _ in range(rounds):
            cases.world.settle()
            for operation in random.sample(operations, len(operations)):
                good, bad = operation.as_strategy(), operation.as_strategy(GenerationMode.NEGATIVE)
                OFTEN(max_examples=each)(given(st.one_of(good, good, good, bad))(cases.send))()
    assert not cases.wrong, "\n\n".join(f"{label}\n{what[:3000]}" for label, what in cases.wrong.items())
    return cases.statuses


def test_no_request_made_of_the_specification_is_answered_otherwise(running: Running) -> None:
    statuses = check(running, 1, 7)
    assert statuses.total() >= 300
    assert statuses[200] > statuses.total() / 4
    assert set(statuses) <= {200, 400, 404}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_request_of_thousands_is_answered_otherwise(running: Running) -> None:
    statuses = check(running, 6, 20)
    assert statuses.total() >= 5_000
    assert statuses[200] > statuses.total() / 4

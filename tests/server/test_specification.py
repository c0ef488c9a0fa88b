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

from tests.server.running import Running, serving
from tests.server.world import SCRIPT, World
from tests.support.program import Agent

SPECIFICATION = json.loads((Path(__file__).parent / "specification" / "assistants.json").read_text(encoding="utf-8"))
OFTEN = partial(
    settings, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
EVENTS = {
    "thread.created": "ThreadObject",
    "thread.run.step": "RunStepObject",
    "thread.run": "RunObject",
    "thread.message": "MessageObject",
}
"""What a stream's events hold, by how their names begin; the first that fits. Deltas have no schema here."""


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
        if name.endswith(".delta"):
            delta = json.loads(data)
            assert (set(delta), delta["object"]) == ({"id", "object", "delta"}, name), data
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
        self.streams = 0
        self.wrong: dict[str, str] = {}

    def send(self, case: Any) -> None:
        self.world.aim(case)
        answer = case.call(base_url=self.url, session=self.session, timeout=30)
        self.statuses[answer.status_code] += 1
        try:
            said = check_answer(case, answer)
        except (Exception, BaseExceptionGroup) as error:  # each may come many times, and hide no other
            errors = error.exceptions if isinstance(error, BaseExceptionGroup) else [error]
            what = "\n".join(map(str, errors))
            self.wrong.setdefault(f"{case.operation.label}: {what[:100]}", f"{what}\n{case.as_curl_command()}")
        else:
            self.streams += isinstance(said, list)
            self.world.heard(case, answer.status_code, said)


def check(running: Running, rounds: int, each: int) -> Cases:
    """In every round, with new objects, so many requests of each operation; a single round is the same every time.
    What was wrong is said together."""
    import requests
    import schemathesis
    from schemathesis.generation import GenerationMode

    schema = schemathesis.openapi.from_dict(SPECIFICATION)
    operations: list[Any] = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 51
    sample = rounds == 1
    random = Random(0 if sample else None)
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
                for examples, strategy in ((each - each // 3, good), (each // 3, good | bad)):
                    OFTEN(max_examples=examples, derandomize=sample)(given(strategy)(cases.send))()
    assert not cases.wrong, "\n\n".join(f"{label}\n{what[:3000]}" for label, what in cases.wrong.items())
    return cases


def test_no_request_made_of_the_specification_is_answered_otherwise(running: Running) -> None:
    cases = check(running, 1, 7)
    assert cases.statuses.total() >= 300
    assert cases.statuses[200] > cases.statuses.total() / 3
    assert set(cases.statuses) <= {200, 400, 404}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_request_of_thousands_is_answered_otherwise(running: Running) -> None:
    cases = check(running, 6, 20)
    assert cases.statuses.total() >= 5_000
    assert cases.statuses[200] > cases.statuses.total() / 3
    assert set(cases.statuses) <= {200, 400, 404}
    assert cases.streams > 25  # so that these were looked at, too

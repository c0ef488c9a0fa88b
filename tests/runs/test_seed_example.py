"""The program of the README against `agent serve --dry-run`: a table in, findings and a picture out; also by stream."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from openai import OpenAI

from tests.runs.conftest import Server, server_in
from tests.runs.test_code_interpreter import Watcher
from tests.support.endpoint import Endpoint

pytestmark = pytest.mark.usefixtures("full_sandbox")
ROOT = Path(__file__).parents[2]
TABLE = ROOT / "examples" / "penguins.csv"
QUESTION = "find the most important insights in this data and visualise them"


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint) -> Iterator[Server]:
    pytest.importorskip("pandas")
    with server_in(tmp_path_factory.mktemp("rehearsal"), endpoint, "--dry-run") as running:
        yield running


def test_the_program_of_the_readme_works(rehearsal: Server, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(from pathlib.*?)```", readme, re.DOTALL)
    assert len(program.splitlines()) <= 26
    program = program.replace("http://127.0.0.1:8000/v1", rehearsal.url).replace("examples/penguins.csv", str(TABLE))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=90
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("completed\npenguins.csv has 344 rows and 8 columns.")
    assert (tmp_path / "insights.png").read_bytes().startswith(b"\x89PNG")


def asked(client: OpenAI) -> tuple[str, str]:
    """An assistant and a thread with the question."""
    file = client.files.create(file=TABLE, purpose="assistants")
    tools: Any = [{"type": "code_interpreter"}, {"type": "file_search"}]
    resources: Any = {"code_interpreter": {"file_ids": [file.id]}}
    made = client.beta.assistants.create(model="any", tools=tools, tool_resources=resources)
    first: Any = {"role": "user", "content": QUESTION}
    return made.id, client.beta.threads.create(messages=[first]).id


def test_what_it_found_can_be_computed_again(rehearsal: Server) -> None:
    import pandas

    client = rehearsal.client()
    made, talk = asked(client)
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    [message] = client.beta.threads.messages.list(talk, run_id=run.id)
    picture, text = cast(Any, message.content)

    [link] = text.text.annotations
    numbers = json.loads(client.files.content(link.file_path.file_id).read())
    table = pandas.read_csv(TABLE)
    r = table["flipper_length_mm"].corr(table["body_mass_g"])
    [found] = [one for one in numbers["findings"] if one["columns"][:2] == ["flipper_length_mm", "body_mass_g"]]
    assert found["value"] == pytest.approx(r)
    assert f"Pearson r = {r:+.2f}" in text.text.value
    calls = [
        call.code_interpreter
        for step in client.beta.threads.runs.steps.list(run.id, thread_id=talk, order="asc")
        if step.type == "tool_calls"
        for call in cast(Any, step.step_details).tool_calls
    ]
    assert len(calls) == 6
    assert all(call.input for call in calls)
    images = [output.image.file_id for call in calls for output in call.outputs if output.type == "image"]
    assert images == [picture.image_file.file_id]
    assert "344" in "".join(output.logs for call in calls for output in call.outputs if output.type == "logs")


def test_the_same_comes_through_the_clients_event_handler(rehearsal: Server) -> None:
    client, watcher = rehearsal.client(), Watcher()
    made, talk = asked(client)
    with client.beta.threads.runs.stream(thread_id=talk, assistant_id=made, event_handler=watcher) as stream:
        stream.until_done()

    assert "5 findings were confirmed" in watcher.text.value
    assert len(watcher.images) == 1
    assert client.files.content(watcher.images[0]).read().startswith(b"\x89PNG")


def test_a_plain_question_is_answered_by_the_script_too(rehearsal: Server) -> None:
    client = rehearsal.client()
    made = client.beta.assistants.create(model="any")
    first: Any = {"role": "user", "content": "hello"}
    run = client.beta.threads.create_and_run_poll(assistant_id=made.id, thread={"messages": [first]})
    [message] = client.beta.threads.messages.list(run.thread_id, run_id=run.id)

    assert "You said: hello" in cast(Any, message.content)[0].text.value

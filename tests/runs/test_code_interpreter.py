"""The code interpreter: real code in a real sandbox, one interpreter for each thread."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

from typing import Any, cast

import pytest
from openai import AssistantEventHandler, OpenAI
from typing_extensions import override

from tests.runs.conftest import Server, assistant, server_in, thread
from tests.support.endpoint import Endpoint

pytestmark = pytest.mark.usefixtures("full_sandbox")
CODE = {"type": "code_interpreter"}


def upload(client: OpenAI, name: str, content: bytes) -> str:
    return client.files.create(file=(name, content), purpose="assistants").id


def run_code(client: OpenAI, talk: str, code: str, made: str = "") -> tuple[str, Any]:
    """What it printed, and the run."""
    client.beta.threads.messages.create(talk, role="user", content=f"run {code}")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made or assistant(client, CODE))
    assert run.status == "completed", run.last_error
    called = next(iter(client.beta.threads.runs.steps.list(run.id, thread_id=talk, order="asc")))
    [call] = cast(Any, called.step_details).tool_calls
    assert call.code_interpreter.input == code
    return "".join(output.logs for output in call.code_interpreter.outputs if output.type == "logs"), run


def test_variables_stay_from_run_to_run_and_the_folder_begins_empty(client: OpenAI) -> None:
    talk = thread(client)

    printed, _ = run_code(client, talk, "import os; x = 6; print(os.getcwd(), os.listdir('/mnt/data'))")
    again, _ = run_code(client, talk, "print(x * 7)")

    assert (printed, again) == ("/mnt/data []", "42")


def test_files_lie_under_their_ids_and_their_names(client: OpenAI) -> None:
    one, two = upload(client, "a.csv", b"n\n1\n"), upload(client, "a.csv", b"n\n2\n")
    made = assistant(client, CODE, tool_resources={"code_interpreter": {"file_ids": [one]}})
    attached: Any = {"file_id": two, "tools": [CODE]}
    talk = client.beta.threads.create(messages=[{"role": "user", "content": "x", "attachments": [attached]}]).id

    code = f"print(sorted(os.listdir('/mnt/data')), *[open(n).read()[2] for n in ('a.csv', {one!r}, {two!r})])"
    printed, _ = run_code(client, talk, f"import os; {code}", made)

    assert printed == f"{sorted(['a.csv', one, two])} 1 1 2"


def test_a_file_whose_name_is_no_name_for_a_link_lies_under_its_id(client: OpenAI) -> None:
    one = upload(client, "a.csv", b"n\n1\n")
    taken, long = upload(client, one, b"n\n2\n"), upload(client, "é" * 200 + ".csv", b"n\n3\n")
    made = assistant(client, CODE, tool_resources={"code_interpreter": {"file_ids": [taken, long, one]}})

    code = f"print(sorted(os.listdir('/mnt/data')), *[open(n).read()[2] for n in {[one, taken, long]}])"
    printed, _ = run_code(client, thread(client), f"import os; {code}", made)

    assert printed == f"{sorted(['a.csv', one, taken, long])} 1 2 3"


def test_a_file_that_is_deleted_is_gone_from_there_too(client: OpenAI) -> None:
    kept, gone = upload(client, "a.csv", b"n\n1\n"), upload(client, "b.csv", b"n\n2\n")
    attached: Any = [{"file_id": file_id, "tools": [CODE]} for file_id in (kept, gone)]
    talk = client.beta.threads.create(messages=[{"role": "user", "content": "x", "attachments": attached}]).id
    code = "import os; open('made.txt', 'w').close(); print(sorted(os.listdir('/mnt/data')))"

    before, _ = run_code(client, talk, code)
    client.files.delete(gone)
    after, _ = run_code(client, talk, code)

    assert before == str(sorted(["a.csv", "b.csv", "made.txt", kept, gone]))
    assert after == str(sorted(["a.csv", "made.txt", kept]))


def test_what_the_model_is_told_names_both(client: OpenAI, endpoint: Endpoint) -> None:
    file_id = upload(client, "b.csv", b"n\n1\n")
    made = assistant(
        client, CODE, tool_resources={"code_interpreter": {"file_ids": [file_id]}}, instructions="Be brief."
    )
    client.beta.threads.runs.create_and_poll(thread_id=thread(client, "hi"), assistant_id=made)

    system = endpoint.requests[-1].json["messages"][0]["content"]
    assert system.startswith("Be brief.")
    assert f"/mnt/data/b.csv is also there as /mnt/data/{file_id}." in system


PLOT = "import matplotlib.pyplot as p; p.plot([1, 2]); open('out.csv', 'w').write('n\\n1\\n'); print('drawn')"


def test_a_figure_and_a_linked_file_come_with_the_answer(client: OpenAI) -> None:
    pytest.importorskip("matplotlib")
    talk = thread(client)
    printed, run = run_code(client, talk, PLOT)

    [message] = client.beta.threads.messages.list(talk, run_id=run.id)
    picture, text = cast(Any, message.content)
    assert (printed, picture.type, text.text.value) == (
        "drawn",
        "image_file",
        "Here: [the table](sandbox:/mnt/data/out.csv).",
    )
    assert client.files.content(picture.image_file.file_id).read().startswith(b"\x89PNG")
    [link] = text.text.annotations
    assert text.text.value[link.start_index : link.end_index] == link.text == "sandbox:/mnt/data/out.csv"
    assert client.files.content(link.file_path.file_id).read() == b"n\n1\n"
    assert client.files.retrieve(link.file_path.file_id).purpose == "assistants_output"
    called = next(iter(client.beta.threads.runs.steps.list(run.id, thread_id=talk, order="asc")))
    outputs = cast(Any, called.step_details).tool_calls[0].code_interpreter.outputs
    assert [output.type for output in outputs] == ["logs", "image"]
    assert outputs[1].image.file_id == picture.image_file.file_id


@pytest.mark.parametrize(
    ("linked", "name"),
    [("sales of 2024 (1).csv", "sales of 2024 (1).csv"), ("sales%20of%202024.csv", "sales of 2024.csv")],
)
def test_a_linked_file_may_have_any_name(client: OpenAI, linked: str, name: str) -> None:
    talk = thread(client, f"link {linked}|open({name!r}, 'w').write('n')")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=assistant(client, CODE))

    [message] = client.beta.threads.messages.list(talk, run_id=run.id)
    text = cast(Any, message.content)[0].text
    [link] = text.annotations
    assert text.value[link.start_index : link.end_index] == link.text == f"sandbox:/mnt/data/{linked}"
    assert client.files.retrieve(link.file_path.file_id).filename == name


class Watcher(AssistantEventHandler):
    """Notes what it is told of images and code."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.calls: list[Any] = []
        self.text: Any = None

    @override
    def on_image_file_done(self, image_file: Any) -> None:
        self.images.append(image_file.file_id)

    @override
    def on_tool_call_done(self, tool_call: Any) -> None:
        self.calls.append(tool_call)

    @override
    def on_text_done(self, text: Any) -> None:
        self.text = text


def test_the_same_comes_by_stream(client: OpenAI) -> None:
    pytest.importorskip("matplotlib")
    talk, watcher = thread(client, f"run {PLOT}"), Watcher()
    with client.beta.threads.runs.stream(
        thread_id=talk, assistant_id=assistant(client, CODE), event_handler=watcher
    ) as stream:
        stream.until_done()

    call = watcher.calls[0]  # The client tells of it again at the end of each later step.
    logs, image = call.code_interpreter.outputs
    assert (call.code_interpreter.input, logs.logs, [image.image.file_id]) == (PLOT, "drawn", watcher.images)
    assert [one.text for one in watcher.text.annotations] == ["sandbox:/mnt/data/out.csv"]


def test_code_that_fails_says_how_in_its_logs(client: OpenAI) -> None:
    printed, run = run_code(client, thread(client), "print('before'); 1 / 0")

    assert (run.status, printed.splitlines()[0], printed.splitlines()[-1]) == (
        "completed",
        "before",
        "ZeroDivisionError: division by zero",
    )


def test_no_thread_sees_the_files_of_another(client: OpenAI, server: Server) -> None:
    run_code(client, thread(client), "open('hidden-note.txt', 'w').write('hidden-note')")
    look = (
        "import os, pathlib; places = ['/mnt/data', os.path.dirname(os.path.realpath('/proc/self/cwd')), '/tmp'];"
        f"home = pathlib.Path({str(server.agent.home)!r});"
        "print([str(p) for q in [home, *map(pathlib.Path, places)] for p in q.rglob('hidden-note*')])"
    )
    printed, _ = run_code(client, thread(client), look)

    assert printed == "[]"


def test_a_link_out_of_the_folder_is_not_handed_out(client: OpenAI) -> None:
    talk = thread(client)
    _, run = run_code(client, talk, "import os; os.symlink('/etc/hostname', 'out.csv')")

    [message] = client.beta.threads.messages.list(talk, run_id=run.id)
    assert cast(Any, message.content)[0].text.annotations == []


def test_without_a_full_sandbox_it_is_refused_with_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint
) -> None:
    folder = tmp_path_factory.mktemp("partial")
    with server_in(folder, endpoint, "--sandbox", "partial") as partial:
        client = partial.client()
        talk = thread(client, "hi")
        run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=assistant(client, CODE))

        assert run.status == "failed"
        assert run.last_error is not None
        assert "the code interpreter needs the sandbox at level FULL" in run.last_error.message
        client.beta.threads.messages.create(talk, role="user", content="free again")

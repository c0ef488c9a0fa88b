"""Conversations through langchain's OpenAIAssistantRunnable; its Python has langchain-classic.

python langchain_assistant.py URL chat|function|code|search
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")  # What this is about is long deprecated.

from langchain_classic.agents import AgentExecutor  # noqa: E402
from langchain_classic.agents.openai_assistant import OpenAIAssistantRunnable  # noqa: E402
from langchain_core.tools import tool  # noqa: E402
from openai import OpenAI  # noqa: E402

CODE = (Path(__file__).parent / "cell.py.txt").read_text()


@tool
def price(of: str) -> str:
    """Say what a thing costs."""
    return f"{of} cost 42"


def begin(client: Any, *tools: Any, as_agent: bool = False) -> Any:
    made = OpenAIAssistantRunnable.create_assistant(
        name="one", instructions="Be brief.", tools=list(tools), model="any", client=client
    )
    return OpenAIAssistantRunnable(assistant_id=made.assistant_id, client=client, as_agent=as_agent, check_every_ms=50)


def chat(client: Any) -> Any:
    runnable = begin(client)
    [first] = runnable.invoke({"content": "say hello"})
    [second] = runnable.invoke({"content": "how many", "thread_id": first.thread_id})
    return [message.content[0].text.value for message in (first, second)]


def function(client: Any) -> Any:
    runnable = begin(client, price, as_agent=True)
    executor = AgentExecutor(agent=runnable, tools=[price])
    return executor.invoke({"content": "call price"})["output"]


def code(client: Any) -> Any:
    file = client.files.create(file=("n.csv", b"n\n20\n22\n"), purpose="assistants")
    runnable = begin(client, {"type": "code_interpreter"})
    attached = [{"file_id": file.id, "tools": [{"type": "code_interpreter"}]}]
    [message] = runnable.invoke({"content": f"run {CODE}", "attachments": attached})
    image, text = message.content
    [link] = text.text.annotations
    [called, *_] = client.beta.threads.runs.steps.list(message.run_id, thread_id=message.thread_id, order="asc")
    outputs = called.step_details.tool_calls[0].code_interpreter.outputs
    return {
        "answer": text.text.value,
        "logs": outputs[0].logs,
        "file": client.files.content(link.file_path.file_id).text,
        "image": client.files.content(image.image_file.file_id).content[1:4].decode(),
    }


def search(client: Any) -> Any:
    file = client.files.create(file=("birds.md", b"The kingfisher is blue."), purpose="assistants")
    attached = [{"file_id": file.id, "tools": [{"type": "file_search"}]}]
    [message] = begin(client, {"type": "file_search"}).invoke({"content": "search kingfisher", "attachments": attached})
    text = message.content[0].text
    [cited] = text.annotations
    assert text.value[cited.start_index : cited.end_index] == cited.text
    return {"answer": text.value, "cited": client.files.retrieve(cited.file_citation.file_id).filename}


if __name__ == "__main__":
    url, name = sys.argv[1:]
    conversation = {"chat": chat, "function": function, "code": code, "search": search}[name]
    with OpenAI(base_url=url, api_key="x", max_retries=0, timeout=30) as opened:
        print(json.dumps(conversation(opened)))

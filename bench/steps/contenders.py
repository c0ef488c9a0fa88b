"""The same job by other means, each a process of its own: `python contenders.py NAME URL STEPS`.

The job: read one small file after the other until the model says that it is done. Each is written as its own
documentation does it. It imports nothing of this project, so that any interpreter that has the contender can run it.
"""

import json
import sys
from pathlib import Path
from typing import Any

GOAL = "Read every file in lines/ and say when you are done."
DESCRIPTION = "Read a text file."
TOOL = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": DESCRIPTION,
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}


def read_file(path: str) -> str:
    """Read a text file."""
    return Path(path).read_text()


def openai_client(url: str, steps: int) -> None:
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="none", max_retries=0)
    messages: list[Any] = [{"role": "user", "content": GOAL}]
    while True:
        answer = client.chat.completions.create(model="m", messages=messages, tools=[TOOL])  # type: ignore[list-item]
        message = answer.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return
        for call in message.tool_calls:
            result = read_file(**json.loads(call.function.arguments))  # type: ignore[union-attr]
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def http_client(url: str, steps: int) -> None:
    try:
        import httpx2 as http
    except ImportError:
        import httpx as http  # type: ignore[no-redef]

    client = http.Client(headers={"Authorization": "Bearer none"}, timeout=600)
    messages: list[Any] = [{"role": "user", "content": GOAL}]
    while True:
        answer = client.post(f"{url}/chat/completions", json={"model": "m", "messages": messages, "tools": [TOOL]})
        answer.raise_for_status()
        message = answer.json()["choices"][0]["message"]
        messages.append(message)
        if not message.get("tool_calls"):
            return
        for call in message["tool_calls"]:
            result = read_file(**json.loads(call["function"]["arguments"]))
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})


def pydantic_ai(url: str, steps: int) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai.usage import UsageLimits

    model = OpenAIChatModel("m", provider=OpenAIProvider(base_url=url, api_key="none"))
    agent = Agent(model)
    agent.tool_plain(read_file)
    agent.run_sync(GOAL, usage_limits=UsageLimits(request_limit=None))


def langgraph(url: str, steps: int) -> None:
    from langchain_openai import ChatOpenAI
    from langgraph.checkpoint.sqlite import SqliteSaver

    try:
        from langchain.agents import create_agent
    except ImportError:
        from langgraph.prebuilt import create_react_agent as create_agent  # type: ignore[assignment]

    model = ChatOpenAI(model="m", base_url=url, api_key="none", max_retries=0)  # type: ignore[arg-type]
    with SqliteSaver.from_conn_string("checkpoints.sqlite") as saver:
        agent = create_agent(model, [read_file], checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "1"}, "recursion_limit": 4 * steps + 100}
        agent.invoke({"messages": [{"role": "user", "content": GOAL}]}, config)


CONTENDERS = {
    "openai": openai_client,
    "http": http_client,
    "pydantic-ai": pydantic_ai,
    "langgraph": langgraph,
}

if __name__ == "__main__":
    CONTENDERS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))

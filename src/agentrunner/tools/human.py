"""The two tools that turn to the person: `ask_user` and `finish`. Asking and ending are the engine's; here is what is
checked."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any, Literal

from agentrunner.sandbox.paths import PathError
from agentrunner.tools.typed import Output, Tool, ToolError, tool
from agentrunner.tools.workspace import Workspace
from agentrunner.types import JSON, Artifact


@tool(effect="pure")
def ask_user(question: str) -> Output:
    """Ask the person a question."""
    return Output("error: this needs a person, and nobody was asked. Decide yourself and go on.", ok=False)


def finish_tool(workspace: Workspace, output_schema: JSON | None) -> Tool:
    """The tool. With a schema the answer must be JSON of it."""

    @tool(effect="pure")
    def finish(answer: str, artifacts: list[str] = [], outcome: Literal["done", "gave_up"] = "done") -> Output:  # noqa: B006
        """End the session with an answer."""
        if not answer.strip():
            raise ToolError("`answer` is empty. Call finish again with what the person should read as the result.")
        if output_schema is not None and outcome == "done":
            _check_schema(answer, output_schema)
        found = tuple(_declared(workspace, path) for path in artifacts)
        words = "done" if outcome == "done" else "given up"
        return Output(f"finished: {words}, artifacts: {len(found)}", artifacts=found)

    return finish


def _declared(workspace: Workspace, path: str) -> Artifact:
    """The artifact, or an error that says what to do about it."""
    advice = "Make the file first, or call finish again without it."
    try:
        artifact = workspace.artifact(path)
    except PathError as error:
        raise ToolError(f"The artifact {path!r} cannot be handed over: {error}. {advice}") from None
    except OSError as error:
        raise ToolError(f"The artifact {path!r} cannot be read ({error.strerror}). {advice}") from None
    if not artifact.bytes:
        raise ToolError(f"The artifact {path!r} is empty. {advice}")
    return artifact


def _check_schema(answer: str, schema: JSON) -> None:
    validators: Any = import_module("jsonschema.validators")
    exceptions: Any = import_module("jsonschema.exceptions")
    try:
        value: Any = json.loads(answer)
    except ValueError as error:
        raise ToolError(f"`answer` must be JSON and nothing else: {error}. Call finish again with JSON only.") from None
    validator = validators.validator_for(schema)(schema)
    problem = exceptions.best_match(validator.iter_errors(value))
    if problem is not None:
        message = problem.message if len(problem.message) <= 300 else problem.message[:297] + "..."
        raise ToolError(
            f"`answer` does not fit the wanted schema at {problem.json_path}: {message}. Call finish again."
        )

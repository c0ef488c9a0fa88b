"""The tools of one session behind one door: names, checked arguments, policy, deadline, readable results.

It asks nobody and journals nothing; the engine does. One name per tool, compared exactly: what is not registered
cannot run."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from agentrunner.sandbox.paths import PathError
from agentrunner.sanitise import clean
from agentrunner.tools.net import FetchError
from agentrunner.tools.output import STUB_BYTES, Outputs, cut
from agentrunner.tools.policy import Policy
from agentrunner.tools.python import Cells
from agentrunner.tools.threads import in_thread
from agentrunner.tools.typed import Context, Output, Tool, ToolError
from agentrunner.tools.urls import UrlError, urls_in
from agentrunner.tools.web import WEB, brought_from_web
from agentrunner.types import Decision, Effect, ToolCall, ToolResult, ToolSpec

MAX_RESULT_BYTES = 16 * 1024  # about 4,000 tokens: a page or a table is readable, a context is not flooded
MAX_SAVED_BYTES = 16 * 1024 * 1024  # a tool of the user's own may return anything
_GRACE_S = 3.0  # what the sandbox may need to end a program; a tool that stops in time can still say what it had


class LocalToolbox:
    """Implements `agentrunner.types.Toolbox` for functions in this process."""

    def __init__(
        self,
        tools: Iterable[Tool],
        *,
        policy: Policy,
        outputs: Path,
        max_result_bytes: int = MAX_RESULT_BYTES,
        cells: Cells | None = None,
        at_end: Callable[[], object] = str,
        inner: Iterable[Tool] = (),
    ) -> None:
        """`cells` are the interpreters behind `python`, where it is there; `at_end` is what `look_over` calls. `inner`
        tools are for strategies: they can be called, but no model is told of them."""
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.name in self._tools:
                raise ValueError(f"two tools are named {tool.name!r}; give one of them another name")
            self._tools[tool.name] = tool
        self._inner = {tool.name: tool for tool in inner}
        self._policy = policy
        self._outputs = Outputs(outputs)
        self._max_result_bytes = max_result_bytes
        self._known_urls: set[str] = set()
        self._cells = cells
        self._at_end = at_end

    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(tool.spec() for tool in self._tools.values())

    def effect(self, name: str) -> Effect:
        tool = self._tools.get(name) or self._inner.get(name)
        return tool.effect if tool else "unsafe"

    def decide(self, call: ToolCall) -> Decision:
        try:
            tool, arguments = self._checked(call)
        except ToolError as error:
            return Decision("reject", str(error))
        return self._policy.decide(tool.name, arguments, tool.effect, self._known_urls)

    def observe(self, name: str, content: str, key: str = "") -> None:
        if name == "goal" or (name in WEB and brought_from_web(content)):
            self._known_urls |= urls_in(content)
        tool = self._tools.get(name)
        if tool is not None and tool.seen is not None:
            tool.seen(content, key)

    async def call(self, call: ToolCall, key: str, timeout_s: float) -> ToolResult:
        started = time.monotonic()
        output = await self._output(call, key, timeout_s)
        try:
            seconds = time.monotonic() - started
            if _stays_short(output.content):
                return self._result(call, key, output, seconds)
            return await in_thread(self._result, call, key, output, seconds)
        except OSError as error:
            text = (
                f"error: the result could not be saved ({error.strerror}); it is lost. Free some space before going on."
            )
            return ToolResult(call.id, call.name, "error", text, artifacts=output.artifacts)

    def warm_up(self) -> None:
        """Soon begins in the background what the first call would have to wait for."""
        if self._cells is not None:
            self._cells.warm_up()

    async def aclose(self) -> None:
        """Ends the warming up; an interpreter that runs ends with its sandbox."""
        if self._cells is not None:
            await self._cells.aclose()

    def look_over(self) -> None:
        """To be called when the sandbox is closed: what its programs did in their last moment is put right."""
        self._at_end()

    def _checked(self, call: ToolCall) -> tuple[Tool, dict[str, Any]]:
        if call.problem:
            raise ToolError(call.problem)
        tool = self._tools.get(call.name) or self._inner.get(call.name)
        if tool is None:
            shown = clean(call.name, keep="")[:80]
            close = get_close_matches(call.name, self._tools, 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ToolError(f"There is no tool named {shown!r}.{hint} The tools are: {', '.join(self._tools)}.")
        return tool, tool.check(call.arguments)

    async def _output(self, call: ToolCall, key: str, timeout_s: float) -> Output:
        """What the tool says, or in words what went wrong."""
        deadline = asyncio.timeout(timeout_s)
        try:
            tool, arguments = self._checked(call)
            if tool.injected:
                arguments[tool.injected] = Context(key, max(timeout_s - _GRACE_S, timeout_s * 0.75))
            async with deadline:
                if inspect.iscoroutinefunction(tool.function):
                    returned = await tool.function(**arguments)
                else:
                    returned = await in_thread(tool.function, **arguments)
            return _as_output(returned)
        except (ToolError, PathError, UrlError, FetchError) as error:
            return _failed(str(error))
        except Exception as error:
            # The tool boundary: whatever a tool or its library raises is a result that the model can act on.
            if deadline.expired():
                return _failed(f"stopped after {timeout_s:g} s. Do less in one call, or split it into several.")
            if isinstance(error, OSError) and error.strerror:
                return _failed(f"{error.strerror}. Nothing else is known; check with list_files.")
            return _failed(f"{call.name} failed: {type(error).__name__}: {error}. Try other arguments or another tool.")

    def _result(self, call: ToolCall, key: str, output: Output, seconds: float) -> ToolResult:
        whole = clean(output.content)
        if len(whole) > MAX_SAVED_BYTES // 4:  # four bytes is the longest character
            whole = whole[: MAX_SAVED_BYTES // 4] + "\n[... the rest is lost: the result was too long to keep ...]"
        if call.name in WEB and brought_from_web(whole):
            self._known_urls |= urls_in(whole)  # the whole page, also what is cut out of the result below
        saved_as = self._outputs.save(key, whole) if len(whole.encode()) > STUB_BYTES else ""
        shown, cut_chars = cut(whole, self._max_result_bytes, saved_as)
        return ToolResult(
            call_id=call.id,
            name=call.name,
            outcome="ok" if output.ok else "error",
            content=shown,
            truncated_chars=cut_chars,
            artifacts=output.artifacts,
            saved_as=saved_as,
            seconds=round(seconds, 3),
            detail=output.detail,
        )


def _stays_short(text: str) -> bool:
    """Whether it is never written to a file: then it is cleaned in less time than a thread takes to wake."""
    return len(text) <= STUB_BYTES and len(text.encode("utf-8", "surrogatepass")) <= STUB_BYTES


def _failed(text: str) -> Output:
    return Output(f"error: {text}", ok=False)


def _as_output(returned: Any) -> Output:
    if isinstance(returned, Output):
        return replace(returned, content=str(returned.content))
    if isinstance(returned, str):
        return Output(returned)
    return Output("done" if returned is None else json.dumps(returned, ensure_ascii=False, default=str))

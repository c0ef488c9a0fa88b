"""The values that travel between rooms, and the plugs as Protocols.

Imports nothing else of this project but `errors`, so every room may import it. Values are frozen; no I/O here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

JSON = dict[str, Any]
"""A JSON object. Only wire functions and event payloads use it."""

Effect = Literal["pure", "idempotent", "unsafe"]
"""What running a tool twice does: nothing, the same again, or nobody knows."""

Outcome = Literal["ok", "error", "denied", "unknown"]
Label = str
"""Why a model is asked: step, execute, create, prioritise, summary, criteria, verify, repair, compact, wrap_up."""


def fields_of(value: Any) -> JSON:
    """The fields of one of the values below by name, without looking into them."""
    return {name: getattr(value, name) for name in value.__slots__}


# --- what a model says -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Thoughts:
    """The deliberation that comes before a command. `revise` says that the criticism must change the plan."""

    text: str = ""
    reasoning: str = ""
    plan: tuple[str, ...] = ()
    criticism: str = ""
    revise: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One command. `arguments` are without `thoughts`; `problem` is an instruction to the model when they could not be
    read (then `arguments` is empty and the call is answered with the problem instead of being run)."""

    id: str
    name: str
    arguments: Mapping[str, Any]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. `input_tokens` includes `cached_tokens`; `output_tokens` includes `reasoning_tokens`."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer. `message` is the assistant's message in Chat Completions form, verbatim, with unknown fields; only
    unreadable arguments (`{}`) and missing or repeated call ids are mended in it, so that it can go back into history.
    `usage` is None when the endpoint did not report it. `problem` is an instruction to the model when the answer as a
    whole could not be read as a command."""

    message: JSON
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    thoughts: Thoughts | None = None
    usage: Usage | None = None
    model: str = ""
    finish: str = "stop"
    """The endpoint's finish reason; "length" means that the answer was cut at its cap."""
    problem: str = ""


# --- what tools say ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file in the workspace: path relative to it with `/`, size, SHA-256 in hex."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of one call. `content` is what the model reads: it starts with the outcome, and when something was cut
    out of it says how to read the rest. `saved_as` names the whole text for `read_file` ("@output/..."), else empty."""

    call_id: str
    name: str
    outcome: Outcome
    content: str
    truncated_chars: int = 0
    artifacts: tuple[Artifact, ...] = ()
    saved_as: str = ""
    seconds: float = 0.0
    ran: bool = True
    """False when the call was never carried out: unknown, unreadable, or not allowed."""
    workspace: str = ""
    """Hash of the workspace after a call that may have changed it; empty when it was not taken."""
    detail: JSON | None = None
    """What listeners are told beside what the model reads; no model and no strategy sees it."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it. `parameters` is a JSON schema of type object, without `thoughts`."""

    name: str
    description: str
    parameters: JSON
    effect: Effect = "unsafe"
    thoughts: bool = True
    """Whether the deliberation is asked for as the first argument. False for a client's own functions."""
    external: bool = False
    """Whether it is carried out elsewhere, by whoever began the session: its calls end the attempt, and their results
    arrive through the inbox."""
    strict: bool = False
    """Whether the endpoint is to hold the arguments to the schema."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with one call before it may run.

    "run"; "ask" a person (`text` is the question, `kind` its sort: approval of a command, or input for `ask_user`);
    "refuse" by the approval policy and "reject" as unusable (unknown name, invalid arguments), both with an instruction
    to the model in `text`; "answer" in the place of a person when nobody is to be asked.
    """

    action: Literal["run", "ask", "refuse", "reject", "answer"]
    text: str = ""
    kind: Literal["approval", "input"] = "approval"


# --- conversation ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Image:
    """A picture in a user's message, after so many characters of its text. `url` is what a model is given: an address,
    or the content itself; then `sha256` stands for it wherever it is written down."""

    at: int
    url: str = field(default="", repr=False)
    detail: str = "auto"
    sha256: str = ""
    width: int = 0
    """In pixels; 0 where nobody knows."""
    height: int = 0

    def noted(self) -> JSON:
        """Its fields without content."""
        return fields_of(self) | ({"url": ""} if self.sha256 else {})


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation, independent of any wire format.

    `raw` is the assistant's message verbatim (role "assistant" only). `call_id`, `name` belong to role "tool".
    `ref` is the journal key where this text already stands ("/llm:7", "/tool:7:0"), else empty.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    raw: JSON | None = None
    call_id: str = ""
    name: str = ""
    ref: str = ""
    saved_as: str = ""
    """Where `read_file` finds the whole text of a tool's result, empty when it was not saved."""
    images: tuple[Image, ...] = ()


class Conversation(Protocol):
    """Append-only between folds. `epoch` grows by one with each fold, so who has encoded `messages[:n]` in this
    epoch needs to encode only what follows. `digest` is a hash over all messages, kept up incrementally."""

    @property
    def id(self) -> str:
        """Unique within the process."""
        ...

    @property
    def epoch(self) -> int: ...

    @property
    def messages(self) -> Sequence[Message]: ...

    @property
    def digest(self) -> str: ...

    def drain(self) -> list[JSON]:
        """What changed since the last drain, for the journal: {"add": message or {"ref": key}}, {"stub": [i, text]},
        {"fold": [first, last, text]}."""
        ...


# --- what strategies yield, and what they are sent ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """One model request and the tools it calls. With `schema` the answer is JSON of that schema, in `Step.value`.

    A request without tools is an aside, of which neither the guard nor people hear, unless it says what was reached so
    far (`progress`): then it brings notices as one with tools does. The same progress again and again is going in
    circles; an empty one is not looked at."""

    label: Label
    conversation: Conversation
    tools: tuple[ToolSpec, ...] = ()
    schema: JSON | None = None
    progress: str | None = None
    options: JSON | None = None
    """Further fields of a Chat Completions request: tool_choice, parallel_tool_calls, response_format, temperature,
    top_p, reasoning_effort."""
    max_output_tokens: int | None = None
    """Cap of this answer, where it is to be lower than the session's."""


@dataclass(frozen=True, slots=True)
class Act:
    """Tool calls that the strategy itself wants. They need no approval: the user or this program chose them."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class StepError:
    """Why there is no usable answer: the context overflowed, the answer was cut at its length, or could not be read."""

    kind: Literal["overflow", "length", "malformed"]
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the strategy must put before the model: a nudge or re-plan of the guard, or a person's words."""

    kind: Literal["nudge", "replan", "message"]
    text: str
    fold: tuple[str, ...] = ()
    """Keys of the steps just made that only repeated: with a re-plan they leave the context."""


@dataclass(frozen=True, slots=True)
class Step:
    """What came of an `Ask`. `key` is its journal key ("/llm:7"); `number` its display counter."""

    key: str
    number: int
    completion: Completion | None = None
    results: tuple[ToolResult, ...] = ()
    notices: tuple[Notice, ...] = ()
    error: StepError | None = None
    value: Any = None
    cost_usd: float = 0.0
    """Of the answer, in US dollars."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a strategy returns. "unverified": the verification failed as often as it may."""

    text: str
    artifacts: tuple[str, ...] = ()
    outcome: Literal["done", "gave_up", "unverified"] = "done"
    reason: str = ""
    """Why, when the outcome is not "done" and the text does not say it."""


@dataclass(frozen=True, slots=True)
class Par:
    """Strategies that run side by side, on the same budget. Their answers are sent back in the same order. `names` are
    parts of journal keys (one per branch, unique in the whole strategy, no "/" or ":"); without, they are numbered."""

    branches: tuple[Strategy, ...]
    names: tuple[str, ...] = ()


Op = Ask | Act | Par
Strategy = Generator[Op, Any, Answer]


# --- session -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Budget:
    """Hard limits of a whole session; None = no limit, 0 = none may be spent. Tokens: input (cached too) + output."""

    steps: int | None = 50
    usd: float | None = 1.0
    tokens: int | None = None
    seconds: float | None = 1800.0


@dataclass(frozen=True, slots=True)
class Session:
    """All that a strategy may know. It is pinned in the journal at creation, so that a resume sees the same."""

    id: str
    goal: str
    strategy: str = "autogpt"
    model: str = ""
    date: str = ""
    """The day it was created, ISO 8601: strategies read no clock."""
    budget: Budget = Budget()
    prompts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Template text by name, as it was at creation."""
    tools: tuple[ToolSpec, ...] = ()
    files: tuple[str, ...] = ()
    """Workspace names of the files given with the goal."""
    first_task: str = ""
    """What a strategy with a list of tasks is to begin with; empty when it is to find that out."""
    notes: tuple[str, ...] = ()
    """What the model should know about this run: the sandbox's level and gaps, tools that are switched off."""
    verify: str = ""
    """Command that must exit 0 before the goal counts as met; empty for none."""
    output_schema: JSON | None = None
    context_tokens: int = 96_000
    """Prompt size at which the conversation is compacted."""
    protocol: Literal["auto", "tools", "json"] = "auto"
    messages: tuple[Message, ...] = ()
    """What was said before, by content: the thread that the session answers."""
    request: JSON | None = None
    """What whoever began it asked for beside the goal; each strategy says what it reads."""
    template: Callable[[str, Mapping[str, object]], str] = field(
        default=lambda text, _: text, compare=False, repr=False
    )
    """How a template's text is filled in; foreign text is always a variable, never a template."""

    def render(self, prompt: str, **variables: object) -> str:
        """The prompt of that name, filled in. Raises `UsageError` when the template names another variable."""
        return self.template(self.prompts[prompt], variables)


# --- events ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """One journalled fact. `seq` counts from 1 within the session; `key`: where it belongs (branch path, ordinal)."""

    session_id: str
    seq: int
    at: str
    """UTC, ISO 8601 with milliseconds and "Z"."""
    type: str
    key: str
    data: JSON


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the loop guard says. `evidence` lists the steps (display numbers) that show it."""

    action: Literal["nudge", "replan", "stop"]
    rule: str
    reason: str
    evidence: tuple[int, ...] = ()
    fold: tuple[str, ...] = ()
    """Keys of those of the last steps that only repeat what stands before them."""


# --- plugs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt at one `Ask`, as the engine hands it to a model. `trailing` is the last message: what is left of the
    budget. It is not part of the conversation, so the prefix before it stays the same from request to request."""

    key: str
    label: Label
    conversation: Conversation
    trailing: str
    tools: tuple[ToolSpec, ...]
    schema: JSON | None
    max_output_tokens: int
    timeout_s: float
    options: JSON | None = None


class Model(Protocol):
    """A source of completions. One call is one attempt: no retries inside."""

    @property
    def name(self) -> str: ...

    @property
    def endpoint(self) -> str:
        """Where the answers come from, for people: a URL, or the name of a script."""
        ...

    @property
    def learned(self) -> Mapping[str, str]:
        """What it found out about its endpoint (which protocol, which fields), to be given to it again on a resume."""
        ...

    def input_bytes(self, request: Request) -> int:
        """UTF-8 bytes of all text that the request would carry: an upper bound of its prompt tokens."""
        ...

    async def complete(self, request: Request, on_delta: Callable[[str], None] | None) -> Completion:
        """The answer. `on_delta` is called with pieces of visible text while it streams, when that is wanted.
        Raises `ModelError`; `ScriptError` for a scripted model that has nothing to say."""
        ...

    async def aclose(self) -> None: ...


class Toolbox(Protocol):
    """The tools of one session."""

    def specs(self) -> tuple[ToolSpec, ...]: ...

    def decide(self, call: ToolCall) -> Decision:
        """The approval policy, on the canonical name and validated arguments. Unknown tools and invalid arguments are
        "reject" with an instruction that names the field and the expected type."""
        ...

    def effect(self, name: str) -> Effect:
        """ "unsafe" for a name that is not known."""
        ...

    async def call(self, call: ToolCall, key: str, timeout_s: float) -> ToolResult:
        """Run it. Never raises for anything the call or its effect can cause. Results over 16 KB are cut, saved whole
        under a name derived from `key`. Runs at most `timeout_s` seconds, then everything it started is dead."""
        ...

    def observe(self, name: str, content: str, key: str = "") -> None:
        """Tell it of text that the model has seen (the goal: name "goal"; results, live or past, with the key of their
        call), so that it knows which URLs were not composed by the model."""
        ...

    async def aclose(self) -> None: ...


class Journal(Protocol):
    """Append-only events by session, and the inbox through which others reach a session."""

    async def append(
        self, session_id: str, after: int, events: Sequence[tuple[str, str, JSON]], *, handled: Sequence[int] = ()
    ) -> list[Event]:
        """Write (type, key, data) at `after + 1`, `after + 2`, ... in one durable commit; mark inbox entries handled.
        Raises `Fenced` when the first of these numbers is taken, `JournalFull` when it cannot be written."""
        ...

    def load(self, session_id: str) -> list[Event]: ...

    def drain(self, session_id: str) -> list[tuple[int, str, JSON]]:
        """What others left in the inbox and nobody has handled: (id, kind, data), oldest first."""
        ...


class Human(Protocol):
    """Whoever can answer a question; None means that nobody is there."""

    def __call__(self, kind: str, question: str) -> Awaitable[str | None]: ...


Listener = Callable[[Event], None]
"""Told of each event after it was journalled. Must not raise."""

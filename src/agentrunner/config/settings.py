"""Every setting: its type, default, help, flag, variable, and what a project's file may do to it. It reads no source;
`load` does. Options of the command line, `agent config show` and the reference are derived from this one model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import platformdirs
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agentrunner.config.values import (
    Amount,
    Count,
    Place,
    Port,
    Positive,
    Price,
    Seconds,
    Share,
    Text,
    Threshold,
    Url,
    Words,
)

Guard = Literal["free", "always", "raising", "loosening", "clearing", "outside", "never"]
"""What a project's file may not do to a setting until its directory is trusted: nothing is forbidden; set it at all;
set it higher; set it to a weaker word; set it to false; name a path outside of the directory.
"never": not even then."""

Panel = Literal["Task", "Model", "Limits", "Permissions", "Output", "Places", "Server"]

_BOTH = ("run", "resume")
_ALL = (*_BOTH, "serve")


class Meta(NamedTuple):
    """What pydantic does not know of a setting. It travels in the field's `json_schema_extra`."""

    panel: Panel
    metavar: str = ""
    guard: Guard = "free"
    commands: tuple[str, ...] = ("run",)
    """The commands that have it as a flag; none: it has no flag."""
    short: str = ""
    env: tuple[str, ...] = ()
    """Variables that are read after its `AGENT_...`."""
    name: str = ""
    """The public name where it is not the field's."""
    as_text: bool = False
    """The command line hands it over as text, which is read here."""


def option(
    panel: Panel,
    default: Any,
    help_: str,
    metavar: str = "",
    guard: Guard = "free",
    commands: tuple[str, ...] = ("run",),
    short: str = "",
    env: tuple[str, ...] = (),
    name: str = "",
    as_text: bool = False,
) -> Any:
    """A pydantic field that carries a `Meta`."""
    extra: dict[str, Any] = Meta(panel, metavar, guard, commands, short, env, name, as_text)._asdict()
    # The part of a URL before "@" may hold a password.
    return Field(default=default, description=help_, json_schema_extra=extra, repr=metavar != "URL")


GuardMode = Literal["off", "warn", "stop"]
"""Say nothing; nudge and ask for another plan; stop the session as well. From the weakest on."""


def rule(default: str | int, of: str) -> Any:
    """A setting of one rule of the loop guard. A project may make a rule stricter, never weaker."""
    if isinstance(default, int):
        return option("Limits", default, f"Loop guard, {of}: how many end the session.", "N", "raising", commands=())
    return option("Limits", default, f"Loop guard, {of}: what it may do.", guard="loosening", commands=())


class Settings(BaseSettings):
    """All settings, validated. Made by `config.load`; the constructor itself reads no variable and no file."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    workspace: Place = option(
        "Task",
        Path("workspace"),
        "Folder the agent works in; made when it is missing.",
        "DIR",
        "outside",
        commands=_BOTH,
    )
    file: Words = option(
        "Task", (), "Copy this file into the workspace first; - is standard input. May be repeated.", "PATH", "outside"
    )
    knowledge: Words = option(
        "Task",
        (),
        "Folder whose files may be searched and read besides the workspace; never written. May be repeated.",
        "DIR",
        "outside",
        commands=_BOTH,
    )
    strategy: Literal["autogpt", "babyagi"] = option("Task", "autogpt", "How the goal is pursued.")
    first_task: Text | None = option(
        "Task", None, "With --strategy babyagi: what its list of tasks begins with.", "TEXT"
    )
    parallel: Positive = option(
        "Task", 1, "With --strategy babyagi: independent tasks that are worked on at a time.", "N", commands=_BOTH
    )
    verify: Text | None = option(
        "Task", None, "Command that must exit 0 in the sandbox before the goal counts as met.", "CMD"
    )
    output_schema: Place | None = option(
        "Task", None, "The answer must be JSON of the schema in this file.", "FILE", "outside"
    )
    prompts: Place | None = option("Task", None, "Folder of prompts that replace ours by name.", "DIR", "always")
    model: Text = option(
        "Model", "gpt-5-mini", "Name of the model, as the endpoint knows it.", "NAME", commands=("run", "serve")
    )
    base_url: Url | None = option(
        "Model",
        None,
        "Address of an OpenAI-compatible endpoint; without one, that of OpenAI.",
        "URL",
        "always",
        commands=_ALL,
        env=("OPENAI_BASE_URL",),
    )
    api_key: SecretStr | None = option(
        "Model",
        None,
        "Key for the endpoint. Loopback and private endpoints need none.",
        commands=(),
        env=("OPENAI_API_KEY",),
    )
    api_version: Text | None = option(
        "Model",
        None,
        "Azure's api-version, where the endpoint wants one.",
        "DATE",
        "always",
        env=("OPENAI_API_VERSION",),
        commands=(),
    )
    api: Literal["chat", "responses"] = option("Model", "chat", "Which interface of the endpoint is used.")
    protocol: Literal["auto", "tools", "json"] = option(
        "Model", "auto", "How commands travel: as tool calls, or as a JSON object in the message."
    )
    embedding_model: Text | None = option(
        "Model", None, "Model that makes vectors of files in vector stores.", "NAME", "always", commands=("serve",)
    )
    embedding_base_url: Url | None = option(
        "Model", None, "Its endpoint, where that is another one.", "URL", "always", commands=("serve",)
    )
    embedding_api_key: SecretStr | None = option(
        "Model", None, "Key for an endpoint of its own; the other key is never sent there.", commands=()
    )
    embedding_price: Amount | None = option(
        "Limits",
        None,
        "US dollars per million tokens of it; wins over the table.",
        "USD",
        "always",
        commands=("serve",),
    )
    context_window: Positive | None = option(
        "Model", None, "Tokens that fit the model at once; without it, what the price table knows.", "N", commands=()
    )
    context_share: Share = option(
        "Model", 0.6, "Part of the context window at which the conversation is compacted.", "PART", commands=()
    )
    dry_run: bool = option(
        "Model", False, "Use a scripted model: no network, no cost.", guard="clearing", commands=_ALL
    )
    script: Place | None = option(
        "Model",
        None,
        "Answers of the scripted model, YAML or JSONL; implies --dry-run.",
        "FILE",
        "always",
        commands=_ALL,
    )
    record: Place | None = option(
        "Model", None, "Write the model's answers as a script into this file.", "FILE", "always", commands=_BOTH
    )
    max_steps: Count = option(
        "Limits",
        50,
        "Answered model requests of the whole session; 0 allows none.",
        "N",
        "raising",
        commands=("run", "serve"),
    )
    max_cost: Amount = option(
        "Limits",
        1.0,
        "US dollars that the whole session may cost; 0 allows none.",
        "USD",
        "raising",
        commands=("run", "serve"),
    )
    max_time: Seconds = option(
        "Limits",
        1800.0,
        "Time that the whole session may work, such as 90, 30m or 1h30m.",
        "TIME",
        "raising",
        as_text=True,
    )
    max_tokens: Count | None = option(
        "Limits",
        None,
        "Input and output tokens of the whole session, cached ones included.",
        "N",
        "raising",
        commands=("run", "serve"),
    )
    max_output_tokens: Positive = option("Limits", 16384, "Output tokens of one answer.", "N", "raising", commands=_ALL)
    retries: Count = option(
        "Limits", 5, "Further attempts at a request that failed in a way that may pass.", "N", "raising", commands=()
    )
    python_timeout: Seconds = option(
        "Limits", 60.0, "Time that one python or shell command may take.", "TIME", "raising", commands=(), as_text=True
    )
    price: Price | None = option(
        "Limits",
        None,
        "US dollars per million input and output tokens; wins over the price table.",
        "IN,OUT",
        "always",
        commands=_ALL,
    )
    allow_unpriced: bool = option(
        "Limits",
        False,
        "Go on without a cost limit when the model's price is not known.",
        guard="always",
        commands=_ALL,
    )
    approve: Literal["auto", "each", "deny"] = option(
        "Permissions", "auto", "Which actions are asked about first.", guard="always", commands=_BOTH
    )
    yes: bool = option("Permissions", False, "Never ask anything.", guard="always", commands=_BOTH)
    in_doubt: Literal["tell", "ask"] = option(
        "Permissions",
        "tell",
        "After a crash, about a command that may or may not have run: tell the model, or ask you first.",
        guard="always",
        commands=_BOTH,
    )
    allow_net: Words = option(
        "Permissions",
        (),
        "Host that sandboxed code, and addresses made up by the model, may reach. May be repeated.",
        "HOST",
        "always",
        commands=_ALL,
    )
    no_web: bool = option("Permissions", False, "Leave out web_search and web_fetch.", guard="clearing")
    sandbox: Literal["auto", "full", "partial", "none"] = option(
        "Permissions",
        "auto",
        "Confinement that must be had; auto takes the best there is.",
        guard="always",
        commands=_ALL,
    )
    sandbox_launcher: Literal["auto", "bwrap", "native"] = option(
        "Permissions", "auto", "What sets the sandbox up.", guard="always", commands=_ALL
    )
    sandbox_limits: Words = option(
        "Permissions",
        (),
        "What code and commands may use, as in memory=2G; the words are those of `agent sandbox run --limit`.",
        guard="always",
        commands=(),
    )
    i_know_there_is_no_sandbox: bool = option(
        "Permissions",
        False,
        "With --sandbox none: let code and commands do whatever you can do. Not kept for a resume.",
        guard="never",
        commands=_BOTH,
    )
    allow_exposed_workspace: bool = option(
        "Permissions",
        False,
        "Accept a workspace that holds files of yours which the agent should not see.",
        guard="always",
        commands=_BOTH,
    )
    json_lines: bool = option(
        "Output", False, "Print events as JSON lines on standard output.", commands=_BOTH, name="json"
    )
    stream: bool = option("Output", False, "With --json, also print the model's text as it comes.", commands=_BOTH)
    quiet: bool = option("Output", False, "Print only the result.", commands=_BOTH)
    output: Place | None = option(
        "Output", None, "Write the answer into this file.", "FILE", "always", commands=_BOTH, short="-o"
    )
    guard_repeat: GuardMode = rule("stop", "identical calls with identical results in a row")
    guard_repeat_at: Threshold = rule(5, "identical calls with identical results in a row")
    guard_cycle: GuardMode = rule("stop", "rounds of the same 2 to 12 calls and results")
    guard_cycle_at: Threshold = rule(3, "rounds of the same 2 to 12 calls and results")
    guard_same_error: GuardMode = rule("stop", "the same error of the same tool, whatever the arguments")
    guard_same_error_at: Threshold = rule(8, "the same error of the same tool, whatever the arguments")
    guard_empty: GuardMode = rule("stop", "results in a row that say nothing is there")
    guard_empty_at: Threshold = rule(16, "results in a row that say nothing is there")
    guard_stall: GuardMode = rule("stop", "calls in a row that bring nothing new")
    guard_stall_at: Threshold = rule(15, "calls in a row that bring nothing new")
    guard_oscillation: GuardMode = rule("stop", "returns of the workspace to how it was before")
    guard_oscillation_at: Threshold = rule(6, "returns of the workspace to how it was before")
    guard_plan: GuardMode = rule("stop", "steps with the same plan and criticism and no news")
    guard_plan_at: Threshold = rule(8, "steps with the same plan and criticism and no news")
    guard_invalid: GuardMode = rule("stop", "calls in a row that cannot be carried out")
    guard_invalid_at: Threshold = rule(7, "calls in a row that cannot be carried out")
    guard_chant: GuardMode = rule("stop", "answers in a row that say one passage over and over")
    guard_chant_at: Threshold = rule(3, "answers in a row that say one passage over and over")
    host: Text = option(
        "Server",
        "127.0.0.1",
        "Address to listen on; any but those of this machine itself wants API keys.",
        "ADDRESS",
        "always",
        commands=("serve",),
    )
    port: Port = option("Server", 8000, "Port to listen on; 0 takes a free one.", "N", "always", commands=("serve",))
    allow_host: Words = option(
        "Server",
        (),
        "Another name under which the server may be called. May be repeated.",
        "NAME",
        "always",
        commands=("serve",),
    )
    strict_file_types: bool = option(
        "Server", False, "In vector stores, refuse files that the original refused, such as CSV.", commands=("serve",)
    )
    requests_per_minute: Count = option(
        "Server",
        6000,
        "Requests that one API key may make in a minute; 0: no limit.",
        "N",
        "always",
        commands=("serve",),
    )
    home: Place = option(
        "Places",
        Path(platformdirs.user_data_dir("agentrunner")),
        "Folder of sessions and of the list of trusted directories.",
        "DIR",
        "always",
        commands=(),
    )
    database_url: str | None = option(
        "Places",
        None,
        "Where the journal is kept; without it, in SQLite in the home folder.",
        "URL",
        "always",
        commands=(),
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Values are only those given: `config.load` must see each source apart to know what it may set."""
        return (init_settings,)


def meta_of(field: str) -> Meta:
    """What is known of this field of `Settings`, with its name and all its variables filled in."""
    extra: Any = Settings.model_fields[field].json_schema_extra
    meta = Meta(**extra)
    name = meta.name or field
    return meta._replace(name=name, env=(f"AGENT_{name.upper()}", *meta.env))

"""Settings: which source wins, what a project's files may not do, and what is said about mistakes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from agentrunner.config import (
    Loaded,
    Settings,
    format_duration,
    is_trusted,
    load,
    options_for,
    parse_duration,
    parse_price,
    show,
    trust,
    user_config_file,
)
from agentrunner.config.settings import meta_of
from agentrunner.errors import UsageError

ROOT = Path(__file__).parent.parent
GUARDED = {
    "base_url": '"http://evil.example/v1"',
    "approve": '"auto"',
    "yes": "true",
    "in_doubt": '"tell"',
    "allow_net": '["evil.example"]',
    "sandbox": '"none"',
    "sandbox_launcher": '"native"',
    "allow_exposed_workspace": "true",
    "price": '"0,0"',
    "allow_unpriced": "true",
    "prompts": '"prompts"',
    "database_url": '"postgresql://evil.example/db"',
    "home": '"home"',
    "output": '"out.txt"',
    "record": '"script.yaml"',
    "script": '"answers.yaml"',
}
NOT_TRUSTED = "this directory is not trusted; run 'agent trust' to allow it"


class Project:
    """A directory to start in, a home, and a user's configuration, all empty."""

    def __init__(self, folder: Path) -> None:
        self.cwd, self.home, self.user = folder / "project", folder / "home", folder / "config.toml"
        self.cwd.mkdir()

    def write(self, name: str, text: str) -> None:
        (self.user if name == "user" else self.cwd / name).write_text(text)

    def load(self, flags: Mapping[str, object] | None = None, **environ: str) -> Loaded:
        environ.setdefault("AGENT_HOME", str(self.home))
        return load(flags or {}, cwd=self.cwd, environ=environ, user_config=self.user)

    def trust(self) -> None:
        trust(self.cwd, self.home)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


SOURCES = ["flag --model", "environment AGENT_MODEL", ".env", "agent.toml", "user configuration", "default"]


@pytest.mark.parametrize("first", range(len(SOURCES)))
def test_the_first_source_that_has_a_setting_wins_and_is_named(project: Project, first: int) -> None:
    present = SOURCES[first:]
    for name in (".env", "agent.toml", "user configuration"):
        if name in present:
            text = f"AGENT_MODEL={name}" if name == ".env" else f'model = "{name}"'
            project.write("user" if name == "user configuration" else name, text)
    flags = {"model": SOURCES[0]} if SOURCES[0] in present else {"model": None}
    environ = {"AGENT_MODEL": SOURCES[1]} if SOURCES[1] in present else {}
    loaded = project.load(flags, **environ)
    assert loaded.origin["model"] == SOURCES[first]
    assert loaded.settings.model == (SOURCES[first] if first < 5 else "gpt-5-mini")
    assert loaded.ignored == []


def test_without_any_source_the_defaults_are_those_promised(project: Project) -> None:
    settings = project.load().settings
    assert (settings.max_steps, settings.max_cost, settings.max_time, settings.max_tokens) == (50, 1.0, 1800.0, None)
    assert (settings.max_output_tokens, settings.strategy, settings.model) == (16384, "autogpt", "gpt-5-mini")
    assert (settings.approve, settings.sandbox, settings.workspace) == ("auto", "auto", project.cwd / "workspace")


@pytest.mark.parametrize("key", GUARDED)
def test_a_guarded_key_of_an_untrusted_project_is_one_line_and_counts_after_trust(project: Project, key: str) -> None:
    project.write("agent.toml", f"{key} = {GUARDED[key]}")
    before = project.load()
    assert before.ignored == [f"agent.toml: ignored '{key}': {NOT_TRUSTED}"]
    assert before.origin[key] == ("environment AGENT_HOME" if key == "home" else "default")
    project.trust()
    after = project.load()
    assert after.ignored == []
    assert after.origin[key] == ("environment AGENT_HOME" if key == "home" else "agent.toml")


@pytest.mark.parametrize("key", GUARDED)
def test_the_same_holds_for_a_variable_in_an_untrusted_env_file(project: Project, key: str) -> None:
    variable = f"AGENT_{key.upper()}"
    project.write(".env", f"{variable}={GUARDED[key]}")
    before = project.load()
    assert before.ignored == [f".env: ignored '{variable}': {NOT_TRUSTED}"]
    project.trust()
    assert project.load().ignored == []


def test_an_endpoint_in_an_untrusted_env_file_is_ignored_but_a_key_is_not(project: Project) -> None:
    project.write(".env", "OPENAI_API_KEY=sk-secret\nOPENAI_BASE_URL=http://evil.example/v1\n")
    loaded = project.load()
    assert loaded.ignored == [f".env: ignored 'OPENAI_BASE_URL': {NOT_TRUSTED}"]
    assert loaded.settings.base_url is None
    assert loaded.settings.api_key is not None
    assert loaded.settings.api_key.get_secret_value() == "sk-secret"


def test_what_is_ignored_does_not_stop_the_command_by_being_wrong(project: Project) -> None:
    project.write("agent.toml", "approve = 7")
    assert len(project.load().ignored) == 1
    project.trust()
    with pytest.raises(UsageError, match=r"agent\.toml: approve is 7; expected 'auto', 'each' or 'deny'"):
        project.load()


@pytest.mark.parametrize(
    ("key", "lower", "higher"),
    [
        ("max_steps", "49", "51"),
        ("max_cost", "0.5", "1.01"),
        ("max_time", '"10m"', '"31m"'),
        ("max_output_tokens", "100", "20000"),
        ("python_timeout", "5", '"2m"'),
    ],
)
def test_an_untrusted_project_may_lower_a_limit_but_not_raise_it(
    project: Project, key: str, lower: str, higher: str
) -> None:
    project.write("agent.toml", f"{key} = {lower}")
    assert project.load().origin[key] == "agent.toml"
    project.write("agent.toml", f"{key} = {higher}")
    loaded = project.load()
    assert loaded.origin[key] == "default"
    (line,) = loaded.ignored
    assert re.fullmatch(rf"agent\.toml: ignored '{key}' \(raises the limit of [\d.]+\): {NOT_TRUSTED}", line)
    project.trust()
    assert project.load().origin[key] == "agent.toml"


def test_a_limit_is_compared_with_the_users_own(project: Project) -> None:
    project.write("user", "max_steps = 10\nmax_tokens = 500\n")
    project.write("agent.toml", "max_steps = 20\nmax_tokens = 501\n")
    loaded = project.load()
    assert (loaded.settings.max_steps, loaded.settings.max_tokens) == (10, 500)
    assert len(loaded.ignored) == 2
    project.write("user", "max_steps = 100\n")
    loaded = project.load()
    assert (loaded.settings.max_steps, loaded.settings.max_tokens, loaded.ignored) == (20, 501, [])


def test_an_untrusted_project_cannot_take_back_a_restriction_of_the_user(project: Project) -> None:
    project.write("user", "no_web = true\ndry_run = true\n")
    project.write(".env", "AGENT_NO_WEB=false\nAGENT_DRY_RUN=no\n")
    loaded = project.load()
    assert (loaded.settings.no_web, loaded.settings.dry_run, len(loaded.ignored)) == (True, True, 2)
    project.write("user", "")
    project.write(".env", "AGENT_NO_WEB=true\n")
    assert project.load().settings.no_web


@pytest.mark.parametrize("path", ["..", "/etc", "~/.ssh", "link", "data/../../x"])
def test_an_untrusted_project_cannot_name_a_path_outside_of_it(project: Project, path: str) -> None:
    (project.cwd / "link").symlink_to("/etc")
    project.write("agent.toml", f'workspace = "{path}"\nfile = ["agent.toml", "{path}/x"]\n')
    loaded = project.load()
    assert loaded.settings.workspace == project.cwd / "workspace"
    assert loaded.settings.file == ()
    assert [line.split("'")[1] for line in loaded.ignored] == ["workspace", "file"]
    assert f"('{path}' lies outside of this directory): {NOT_TRUSTED}" in loaded.ignored[0]
    project.write("agent.toml", 'workspace = "work"\nfile = "data.csv"\n')
    assert project.load().ignored == []


def test_a_file_that_changed_has_to_be_trusted_again(project: Project) -> None:
    project.write("agent.toml", "yes = true")
    assert not is_trusted(project.cwd, project.home)
    project.trust()
    assert is_trusted(project.cwd, project.home)
    project.write("agent.toml", "yes = true\nallow_unpriced = true")
    project.write(".env", "AGENT_APPROVE=each")
    assert not is_trusted(project.cwd, project.home)
    changed = "changed since this directory was trusted; run 'agent trust' to allow it"
    assert sorted(project.load().ignored) == [
        f".env: ignored 'AGENT_APPROVE': .env {changed}",
        f"agent.toml: ignored 'allow_unpriced': agent.toml {changed}",
        f"agent.toml: ignored 'yes': agent.toml {changed}",
    ]


def test_trust_is_of_one_directory_by_its_real_path_and_kept_outside_of_it(project: Project, tmp_path: Path) -> None:
    project.write("agent.toml", "yes = true")
    (tmp_path / "link").symlink_to(project.cwd)
    assert trust(tmp_path / "link", project.home) == ["agent.toml"]
    assert is_trusted(project.cwd, project.home)
    assert not is_trusted(tmp_path, project.home)
    assert list(json.loads((project.home / "trusted.json").read_text())["directories"]) == [str(project.cwd.resolve())]
    assert (project.home / "trusted.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="not a directory"):
        trust(tmp_path / "nowhere", project.home)


def test_a_project_cannot_bring_its_own_list_of_trusted_directories(project: Project) -> None:
    own = project.cwd / "home"
    project.write("agent.toml", 'home = "home"\nyes = true\n')
    trust(project.cwd, own)
    loaded = project.load()
    assert not loaded.settings.yes
    assert loaded.settings.home == project.home


def test_a_damaged_list_of_trusted_directories_is_named(project: Project) -> None:
    project.write("agent.toml", "yes = true")
    project.home.mkdir()
    for text in ["{", "[]", '{"directories": [1]}']:
        (project.home / "trusted.json").write_text(text)
        with pytest.raises(UsageError, match=r"trusted\.json' cannot be read.*move it away"):
            project.load()


@pytest.mark.parametrize(
    ("key", "near"), [("max_step", "max_steps"), ("Strategy", "strategy"), ("base-ulr", "base_url")]
)
def test_an_unknown_key_is_an_error_that_names_the_file_and_the_nearest_key(
    project: Project, key: str, near: str
) -> None:
    project.write("agent.toml", f"{key} = 1")
    with pytest.raises(UsageError, match=re.escape(f"agent.toml: unknown key {key!r}; did you mean {near!r}?")):
        project.load()
    project.write("agent.toml", "")
    project.write("user", f"{key} = 1")
    with pytest.raises(UsageError, match=re.escape(f"{project.user}: unknown key {key!r}; did you mean {near!r}?")):
        project.load()


def test_an_unknown_table_and_a_key_given_twice_are_errors(project: Project) -> None:
    project.write("agent.toml", "[mcp_servers.x]\ncommand = 'x'")
    with pytest.raises(UsageError, match=r"agent\.toml: unknown key 'mcp_servers'"):
        project.load()
    project.write("agent.toml", "max-steps = 3\nmax_steps = 4")
    with pytest.raises(UsageError, match="'max-steps' and 'max_steps' are the same setting"):
        project.load()


def test_keys_may_be_written_with_dashes(project: Project) -> None:
    project.write("agent.toml", "max-steps = 3")
    assert project.load().settings.max_steps == 3


def test_unknown_variables_are_left_alone_but_for_a_line_about_ours_in_env_files(project: Project) -> None:
    project.write(".env", "DJANGO_SECRET=x\nAGENT_MAX_STEP=3\n")
    loaded = project.load(AGENT_UNKNOWN="x")
    assert loaded.ignored == [
        ".env: ignored 'AGENT_MAX_STEP': there is no such setting; did you mean 'AGENT_MAX_STEPS'?"
    ]


@pytest.mark.parametrize(
    ("key", "toml", "message"),
    [
        ("max_steps", '"many"', "max_steps is 'many'; expected a valid integer"),
        ("max_steps", "-1", "max_steps is -1; expected a number greater than or equal to 0"),
        ("max_steps", "true", "max_steps is True; expected a number"),
        ("max_cost", "nan", "max_cost is nan; expected a"),
        ("max_cost", "inf", "max_cost is inf; expected a finite number"),
        ("max_time", '"soon"', "max_time is 'soon'; expected a duration such as 90, 10s, 30m or 1h30m"),
        ("strategy", '"autogtp"', "strategy is 'autogtp'; expected 'autogpt' or 'babyagi'"),
        ("price", '"1"', "price is '1'; expected two prices such as 0.25,2"),
        ("base_url", '"localhost:80"', "base_url is 'localhost:80'; expected an http or https URL"),
        ("stream", '"perhaps"', "stream is 'perhaps'; expected a valid boolean"),
        ("file", "[1]", "file is [1]; expected a valid string"),
        ("model", '""', "model is ''; expected some text"),
        ("context_share", "1.5", "context_share is 1.5; expected a number less than or equal to 1"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_source_value_and_what_was_expected(
    project: Project, key: str, toml: str, message: str
) -> None:
    project.write("agent.toml", f"{key} = {toml}")
    project.trust()
    with pytest.raises(UsageError) as caught:
        project.load()
    assert str(caught.value).startswith(f"agent.toml: {message}")
    assert "\n" not in str(caught.value)


def test_a_wrong_value_names_its_flag_or_variable(project: Project) -> None:
    with pytest.raises(UsageError, match=r"^flag --max-time is 'x'; expected a duration"):
        project.load({"max_time": "x"})
    with pytest.raises(UsageError, match=r"^environment AGENT_MAX_STEPS is 'x'; expected a valid integer"):
        project.load(AGENT_MAX_STEPS="x")
    project.write(".env", "AGENT_MAX_STEPS=x")
    with pytest.raises(UsageError, match=r"^\.env: AGENT_MAX_STEPS is 'x'"):
        project.load({"max_steps": 3})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("agent.toml", b"a = ", "not valid TOML"),
        ("agent.toml", b"model = '\xff'", "not UTF-8"),
        (".env", b"AGENT_MODEL=\xff", "not UTF-8"),
        ("agent.toml", b"#" * 2_000_000, "larger than"),
        ("agent.toml", b"a = " + b"[" * 100_000, "nested too deep"),
        ("agent.toml", b"a = " + b"{a = " * 100_000, "nested too deep"),
        ("agent.toml", b"max_steps = " + b"9" * 6_000, "too many digits"),
        ("agent.toml", b"max_cost = 0x" + b"f" * 6_000, "too many digits"),
        ("agent.toml", b"a" + b".a" * 100_000 + b" = 1", "more than 64 dots"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_file_that_is_not_what_it_should_be_is_named(
    project: Project, name: str, content: bytes, message: str
) -> None:
    (project.cwd / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        project.load()
    assert name in str(caught.value)


def test_a_pipe_in_the_place_of_a_project_file_is_not_waited_for(project: Project) -> None:
    os.mkfifo(project.cwd / "agent.toml")
    assert project.load().ignored == []


def test_an_env_file_changes_no_variable_and_reads_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_MINE", "hunter2")
    project.write(".env", "AGENT_MODEL=${SECRET_OF_MINE}\nOTHER=1\n")
    before = dict(os.environ)
    loaded = project.load()
    assert os.environ == before
    assert loaded.settings.model == "${SECRET_OF_MINE}"


def test_the_real_environment_wins_over_an_env_file_and_an_empty_variable_is_none(project: Project) -> None:
    project.write(".env", "AGENT_MODEL=from-file\nAGENT_STRATEGY=\n")
    assert project.load(AGENT_MODEL="real").settings.model == "real"
    assert project.load(AGENT_MODEL="").settings.model == "from-file"
    assert project.load().origin["strategy"] == "default"


def test_the_process_environment_is_read_only_where_it_is_handed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_MODEL", "leaked")
    monkeypatch.setenv("MODEL", "leaked")
    assert Settings().model == "gpt-5-mini"


def test_no_text_about_the_settings_shows_a_secret(project: Project) -> None:
    loaded = project.load(
        OPENAI_API_KEY="sk-secret",
        OPENAI_BASE_URL="https://user:hunter2@host/v1",
        AGENT_DATABASE_URL="postgresql://me:hunter2@db/agent",
    )
    text = f"{loaded} {loaded.settings!r} {loaded.settings} {show(loaded)}"
    assert "sk-secret" not in text
    assert "hunter2" not in text
    shown = {name: (value, origin) for name, value, origin in show(loaded)}
    assert shown["api_key"] == ("set", "environment OPENAI_API_KEY")
    assert shown["base_url"] == ("https://***@host/v1", "environment OPENAI_BASE_URL")
    assert {name: value for name, value, _ in show(project.load())}["api_key"] == "not set"
    project.write("agent.toml", 'api_key = ["sk-secret"]')
    with pytest.raises(UsageError) as caught:
        project.load()
    assert "sk-secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(UsageError, match="expected an http or https URL") as caught:
        project.load(OPENAI_BASE_URL="ftp://me:hunter2@host")
    assert "hunter2" not in str(caught.value)


def test_a_variable_of_ours_wins_over_one_of_another_program(project: Project) -> None:
    loaded = project.load(AGENT_BASE_URL="http://a/v1", OPENAI_BASE_URL="http://b/v1")
    assert loaded.settings.base_url == "http://a/v1"
    assert loaded.origin["base_url"] == "environment AGENT_BASE_URL"


def test_the_users_configuration_is_found_where_the_platform_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_config_file().is_relative_to(tmp_path)
    user_config_file().parent.mkdir(parents=True)
    user_config_file().write_text('model = "mine"\nbase_url = "http://mine/v1"')
    loaded = load({}, cwd=tmp_path, environ={})
    assert (loaded.settings.model, loaded.origin["base_url"]) == ("mine", "user configuration")


def test_a_script_implies_a_dry_run(project: Project) -> None:
    loaded = project.load({"script": Path("answers.yaml")})
    assert loaded.settings.dry_run
    assert loaded.origin["dry_run"] == "flag --script"
    assert loaded.settings.script == project.cwd / "answers.yaml"


def test_lists_come_from_flags_arrays_and_commas(project: Project) -> None:
    assert project.load({"allow_net": ["a", "b"]}).settings.allow_net == ("a", "b")
    assert project.load({"allow_net": []}, AGENT_ALLOW_NET="a, b").settings.allow_net == ("a", "b")
    assert project.load(AGENT_FILE='["a,b.csv", "c"]').settings.file == ("a,b.csv", "c")
    project.write("user", 'allow_net = ["x"]')
    assert project.load().settings.allow_net == ("x",)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        (90, 90),
        (1.5, 1.5),
        ("10s", 10),
        ("30m", 1800),
        ("1h30m", 5400),
        ("1d", 86400),
        ("0", 0),
        (" 2H ", 7200),
    ],
)
def test_a_duration_is_read(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "10 minutes", "-5", -5, "1e3", "nan", float("nan"), "30m1x", True, None, "٣"]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


def test_a_price_is_two_numbers() -> None:
    assert parse_price("0.25, 2") == (0.25, 2.0)
    for text in ["1", "1,2,3", "a,b", "-1,2", "nan,1", "inf,1", ""]:
        with pytest.raises(ValueError, match="two prices"):
            parse_price(text)


def test_the_options_of_a_command_come_from_the_settings() -> None:
    run = {option.name: option for option in options_for("run")}
    assert run["max_time"].type == str | None
    assert (run["max_time"].default, run["max_time"].metavar) == ("30m", "TIME")
    assert run["approve"].choices == ("auto", "each", "deny")
    assert run["output"].flags == ("--output", "-o")
    assert run["file"].multiple
    assert run["json"].flags == ("--json",)
    assert all(option.help for option in run.values())
    assert not {"api_key", "home", "database_url"} & set(run)
    resume = {option.name for option in options_for("resume")}
    assert resume < set(run)
    assert "json" in resume
    assert "file" not in resume


def test_every_option_can_be_given_as_a_flag_and_as_a_variable(project: Project) -> None:
    sample: dict[str, object] = {"price": "1,2", "base_url": "http://h/v1", "max_time": "5m", "max_tokens": 5}
    for option in options_for("run"):
        value = sample.get(option.name) or (
            option.choices[-1]
            if option.choices
            else ["a"]
            if option.multiple
            else True
            if option.type == bool | None
            else 1
        )
        if option.type in (str | None, Path | None) and option.name not in sample:
            value = "text"
        field = "json_lines" if option.name == "json" else option.name
        by_flag = project.load({option.name: value})
        assert by_flag.origin[field] == f"flag {option.flags[0]}"
        text = ",".join(["a"]) if option.multiple else str(value)
        by_variable = project.load({}, **{option.env[0]: text})
        assert by_variable.origin[field] == f"environment {option.env[0]}"
        assert getattr(by_flag.settings, field) == getattr(by_variable.settings, field)


def test_the_example_files_name_every_variable_and_are_accepted(project: Project) -> None:
    text = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^([A-Z_]+)=", text, re.MULTILINE))
    assert named == {variable for field in Settings.model_fields for variable in meta_of(field).env}
    starred = set(re.findall(r"^([A-Z_]+)= +# \*", text, re.MULTILINE))
    assert starred == {
        variable
        for field in Settings.model_fields
        for variable in meta_of(field).env
        if meta_of(field).guard == "always"
    }
    project.write(".env", text)
    project.write("agent.toml", (ROOT / "examples" / "agent.toml").read_text())
    loaded = project.load()
    assert loaded.ignored == []
    assert set(loaded.origin.values()) == {"default", "agent.toml", "environment AGENT_HOME"}
    project.write("agent.toml", re.sub(r"(?m)^# (?=\w+ = )", "", (ROOT / "examples" / "agent.toml").read_text()))
    project.trust()
    assert project.load().ignored == []

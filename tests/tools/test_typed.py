"""Typed functions as tools: what the model is told of them, and how its arguments are checked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentrunner.tools import Context, Tool, ToolError, tool
from tests.tools.support import DESCRIPTIONS, bench


class Place(BaseModel):
    city: str
    zip: int


@tool(effect="pure")
def demo(
    path: str,
    limit: Annotated[int, "How many."] = 10,
    ratio: float = 0.5,
    deep: bool = False,
    names: list[str] = [],  # noqa: B006
    mode: Literal["a", "b"] = "a",
    note: str | None = None,
) -> str:
    """Show what arrived.

    More for people.
    """
    return json.dumps([path, limit, ratio, deep, names, mode, note])


@tool
def rich(place: Place, count: Annotated[int, Field(description="How often.", ge=1)], context: Context) -> str:
    """Take a structure."""
    return f"{place.city} {count} {context.key}"


def rejected(used: Tool, arguments: dict[str, Any]) -> str:
    with pytest.raises(ToolError) as error:
        used.check(arguments)
    return str(error.value)


def test_the_schema_says_types_defaults_and_words() -> None:
    assert demo.parameters == {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "limit": {"type": "integer", "description": "How many.", "default": 10},
            "ratio": {"type": "number", "default": 0.5},
            "deep": {"type": "boolean", "default": False},
            "names": {"type": "array", "items": {"type": "string"}, "default": []},
            "mode": {"enum": ["a", "b"], "type": "string", "default": "a"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        },
        "required": ["path"],
        "additionalProperties": False,
    }


def test_the_schema_made_without_pydantic_is_the_one_that_pydantic_makes() -> None:
    from agentrunner.tools.typed import _adapter, _untitled

    ours = demo.parameters["properties"]
    theirs = _untitled(_adapter(demo).json_schema())["properties"]
    for name, shape in theirs.items():
        assert {k: v for k, v in ours[name].items() if k not in ("default", "description")} == shape


def test_rich_types_come_from_pydantic_and_the_context_stays_hidden() -> None:
    assert list(rich.parameters["properties"]) == ["place", "count"]
    assert rich.parameters["properties"]["count"] == {"type": "integer", "minimum": 1, "description": "How often."}
    assert rich.parameters["$defs"]["Place"]["required"] == ["city", "zip"]
    assert "title" not in json.dumps(rich.parameters)
    assert "`place.zip` must be an integer" in rejected(rich, {"place": {"city": "x", "zip": "y"}, "count": 1})


def test_slips_with_one_meaning_are_mended() -> None:
    checked = demo.check({"path": 7, "limit": "3", "ratio": "1", "deep": "true", "names": '["a"]', "note": None})
    assert checked == {"path": "7", "limit": 3, "ratio": 1.0, "deep": True, "names": ["a"], "note": None}
    assert demo.check({"path": "x", "names": "one.png", "limit": None}) == {"path": "x", "names": ["one.png"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"path": "x", "limit": "ten"}, "`limit` must be an integer, got 'ten'. Call demo again with that corrected."),
        ({}, "`path` is missing (it must be a string). Call demo again with that corrected."),
        ({"path": None}, "`path` must be a string, got null."),
        ({"path": ["x"]}, "`path` must be a string, got a list."),
        ({"path": {"a": 1}}, "`path` must be a string, got an object."),
        ({"path": "x", "mode": "c"}, "`mode` must be one of 'a', 'b', got 'c'."),
        ({"path": "x", "deep": "maybe"}, "`deep` must be true or false, got 'maybe'."),
        ({"path": "x", "names": [{}]}, "`names.0` must be a string, got an object."),
        ({"path": "x", "depth": 2}, "`depth` is not an argument of demo (its arguments: `path`, `limit`,"),
        ({"limit": "x", "depth": 2}, "Call demo again with these corrected."),
    ],
)
def test_a_wrong_argument_is_named_with_the_type_it_needs(arguments: dict[str, Any], said: str) -> None:
    assert said in rejected(demo, arguments)


def test_what_the_model_wrote_is_shown_short_and_harmless() -> None:
    said = rejected(demo, {"path": "x", "limit": "9" * 500 + "\x1b[2J", "\x1b[31m\nred": 1})
    assert len(said) < 500
    assert not set("\x1b\n") & set(said)


def test_a_prompt_file_describes_the_tool_and_its_arguments() -> None:
    text = "<!-- Used by: x. -->\nFirst line\nof it.\n\n- path: A path.\n- `limit`: Another limit.\nrest\n"
    spec = demo.described(text).spec()
    assert spec.description == "First line of it."
    assert spec.parameters["properties"]["path"]["description"] == "A path."
    assert spec.parameters["properties"]["limit"]["description"] == "Another limit."
    assert demo.spec().description.startswith("Show what arrived.")


def test_a_function_that_cannot_be_a_tool_is_an_error_of_its_author() -> None:
    with pytest.raises(TypeError, match="needs a type annotation"):
        tool(lambda x: x).spec() if False else tool(untyped)
    with pytest.raises(ValueError, match="letters, digits"):
        tool(name="no spaces")(demo.function)
    with pytest.raises(TypeError, match="plain named one"):
        tool(starred)


def untyped(x):  # type: ignore[no-untyped-def]
    return x


def starred(*x: str) -> None: ...


def test_every_built_in_tool_has_words_for_itself_and_each_argument(tmp_path: Path) -> None:
    specs = bench(tmp_path, web="fixtures").toolbox.specs()
    for spec in specs:
        assert len(spec.description) > 40, spec.name
        for name, shape in spec.parameters["properties"].items():
            assert shape.get("description"), f"prompts/tools/{spec.name}.md does not describe `{name}`"


def test_the_prompt_files_name_no_argument_that_is_not_there(tmp_path: Path) -> None:
    import re

    for spec in bench(tmp_path, web="fixtures").toolbox.specs():
        named = re.findall(r"^- (\w+):", DESCRIPTIONS[spec.name], re.M)
        assert set(named) == set(spec.parameters["properties"]), spec.name


def test_building_all_schemas_is_quick(tmp_path: Path) -> None:
    best = 1.0
    for _ in range(5):
        toolbox = bench(tmp_path, web="fixtures").toolbox
        started = time.perf_counter()
        toolbox.specs()
        best = min(best, time.perf_counter() - started)
    assert best < 0.015, f"{best * 1000:.1f} ms"

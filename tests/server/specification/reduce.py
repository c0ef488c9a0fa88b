"""Make `assistants.json` of the published specification: what requests and answers look like, without the prose."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

PROSE = {"description", "summary", "example", "examples", "title", "externalDocs", "tags", "deprecated"}
NAMED = {"properties", "schemas", "paths", "responses", "mapping", "content"}
"""Below these, keys are names that somebody chose, of which one may be "description"."""


def reduced(value: Any, *, names: bool = False) -> Any:
    if isinstance(value, list):
        return [reduced(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {
        str(key): reduced(each, names=key in NAMED and not names)
        for key, each in value.items()
        if names or not (key in PROSE or str(key).startswith("x-"))
    }
    return kept if names or not kept.pop("nullable", False) else or_null(kept)


def or_null(schema: Any) -> Any:
    """The word of OpenAPI 3.0 for it is still in places of the specification, where 3.1 knows it no more."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def main(source: str, target: str) -> None:
    whole = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    paths, components = reduced(whole["paths"], names=True), reduced(whole["components"])
    head = {"openapi": whole["openapi"], "info": {"title": "Assistants", "version": "2"}}
    lines = [f"{json.dumps(head)[:-1]},", '"paths": {', *_members(paths), "},"]
    lines += ['"components": {"responses": {', *_members(components["responses"]), "},"]
    lines += ['"schemas": {', *_members(components["schemas"]), "}}}"]
    Path(target).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _members(of: dict[str, Any]) -> list[str]:
    """A line each, so that what a newer specification changes can be read."""
    written = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in of.items()]
    return [f"{line}," for line in written[:-1]] + written[-1:]


if __name__ == "__main__":
    main(*sys.argv[1:])

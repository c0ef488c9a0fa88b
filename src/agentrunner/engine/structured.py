"""The value of an answer that had to be JSON of a schema, or an instruction that says what is wrong with it. Pure."""

import json
from importlib import import_module
from typing import Any

from agentrunner.types import JSON

_DECODER = json.JSONDecoder()
MAX_SHOWN = 300
"""Characters of a validator's message: it quotes the value that is wrong, which may be long."""


def read_value(text: str, schema: JSON) -> tuple[Any, str]:
    """The value and "", or None and what the model is to do about it."""
    try:
        value = _read(text)
    except (ValueError, RecursionError) as error:
        said = f"{error.msg} at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(error)
        return None, f"Your answer could not be read as JSON: {said}. {_again(schema)}"
    problem = _mismatch(value, schema)
    return (None, f"Your answer is not of the wanted form: {problem}. {_again(schema)}") if problem else (value, "")


def _read(text: str) -> Any:
    """The value that the text is, else the first object in it: words and a code fence around an object leave no doubt
    what was meant."""
    try:
        return json.loads(text)
    except ValueError:
        start = text.find("{")
        if start < 0:
            raise
    return _DECODER.raw_decode(text, start)[0]


def _mismatch(value: Any, schema: JSON) -> str:
    validators: Any = import_module("jsonschema.validators")
    exceptions: Any = import_module("jsonschema.exceptions")
    validator = validators.validator_for(schema)(schema)
    problem = exceptions.best_match(validator.iter_errors(value))
    return "" if problem is None else f"{problem.json_path}: {str(problem.message)[:MAX_SHOWN]}"


def _again(schema: JSON) -> str:
    return f"Answer again with one JSON value of this schema and nothing else: {json.dumps(schema, ensure_ascii=False)}"

"""Reading prompts from files and filling them in. Foreign text is only ever a variable, never a template.

A prompt file may begin with an HTML comment that says who uses it and with which variables; it is not sent.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from agentrunner.errors import UsageError

if TYPE_CHECKING:
    from jinja2 import Template

_HEADER = re.compile(r"\A\s*<!--.*?-->\s*", re.DOTALL)


def packaged() -> Path:
    """The folder of the prompts that came with this program, in a wheel or in a checkout."""
    inside = Path(__file__).parent.parent / "prompts"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "prompts"


def load_prompts(override: Path | None = None) -> dict[str, str]:
    """Prompt texts by name ("system", "tools/python"); files of `override` win over the packaged ones of the same name.

    Raises `UsageError` when the folder does not exist, or holds a name that nothing uses.
    """
    prompts = _read(packaged())
    if override is not None:
        if not override.is_dir():
            raise UsageError(f"no folder of prompts at {str(override)!r}", "give --prompts a folder of .md files")
        own = _read(override)
        unknown = sorted(set(own) - set(prompts))
        if unknown:
            raise UsageError(f"nothing uses the prompt {unknown[0]!r}", f"known: {', '.join(sorted(prompts))}")
        for name, text in own.items():
            _check(name, text)
        prompts |= own
    return prompts


def fill_in(text: str, variables: Mapping[str, object]) -> str:
    """The template with its variables. Raises `UsageError` for one that it names but is not given, or unsafe access."""
    if not text:
        return ""
    from jinja2 import TemplateError

    try:
        return _compile(text).render(variables)
    except TemplateError as error:
        raise UsageError(
            f"a prompt cannot be filled in: {error}", "see the comment at its top for its variables"
        ) from None


def _check(name: str, text: str) -> None:
    from jinja2 import TemplateError

    try:
        _compile(text)
    except TemplateError as error:
        raise UsageError(f"the prompt {name!r} is not a template: {error}", "see prompts/README.md") from None


@lru_cache(maxsize=128)
def _compile(text: str) -> "Template":
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(text)


def _read(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).with_suffix("").as_posix(): _HEADER.sub("", _text(path)).strip()
        for path in sorted(folder.rglob("*.md"))
        if path.name != "README.md"
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the prompt {str(path)!r} cannot be read: {error}", "prompts are UTF-8 text") from None

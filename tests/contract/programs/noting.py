"""Notes which methods of the official Python client are called, and finds all that it has; either form, any age."""

import functools
import inspect
from typing import Any

ROOMS = ("beta.assistants", "beta.threads", "beta.vector_stores", "vector_stores", "files", "uploads", "models")


def is_room(value: Any) -> bool:
    return type(value).__module__.startswith("openai.resources")


def methods(resource: Any, name: str) -> set[str]:
    """The full names of all methods, found by looking."""
    found: set[str] = set()
    for one in dir(resource):
        if one.startswith("_") or one in ("with_raw_response", "with_streaming_response"):
            continue
        value = getattr(resource, one)
        if is_room(value):
            found |= methods(value, f"{name}.{one}")
        elif inspect.ismethod(value):
            found.add(f"{name}.{one}")
    return found


class Noted:
    """A resource of the client that notes which of its methods are called."""

    def __init__(self, of: Any, name: str, called: set[str]) -> None:
        self._of, self._name, self._called = of, name, called

    def __getattr__(self, name: str) -> Any:
        found, full = getattr(self._of, name), f"{self._name}.{name}".lstrip(".")
        if is_room(found):
            return Noted(found, full, self._called)

        @functools.wraps(found)
        def call(*arguments: Any, **options: Any) -> Any:
            self._called.add(full)
            return found(*arguments, **options)

        return call


async def the(value: Any) -> Any:
    """What the synchronous client returns, and what the asynchronous one promises."""
    return await value if inspect.isawaitable(value) else value


async def every(page: Any) -> list[Any]:
    """A whole listing, or stream."""
    page = await the(page)
    return [one async for one in page] if hasattr(page, "__aiter__") else list(page)


async def followed(manager: Any) -> Any:
    """The run at the end of a stream, after the client has put all its parts together."""
    if hasattr(manager, "__aenter__"):
        async with manager as stream:
            await stream.until_done()
            return await stream.get_final_run()
    with manager as stream:
        stream.until_done()
        return stream.get_final_run()


def everything(client: Any) -> set[str]:
    """All methods of the client that are about what the server keeps. Where its stores are depends on its age."""
    found: set[str] = set()
    for name in ROOMS:
        try:
            found |= methods(functools.reduce(getattr, name.split("."), client), name)
        except AttributeError:
            assert name.endswith("vector_stores"), name
    return found

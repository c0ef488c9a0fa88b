"""The stateful Python interpreter of a session: runs one cell after the other in one namespace.

Started as `python -I worker.py FD [FOLDER ...]` behind the wall. FD is a socket: each request and reply is four bytes
of length, then JSON. The cells share this process, so the other side must not trust a word of what comes back.
"""
# ruff: noqa: PTH109, PTH123 - pathlib is not loaded here

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import importlib
import importlib.abc
import importlib.machinery
import io
import json
import linecache
import os
import signal
import socket
import struct
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Sequence
from typing import Any

MAX_VALUE_CHARS = 64_000
"""A last expression longer than this is a listing that should have been a file."""
MAX_ERROR_CHARS = 16_000
MAX_FIGURES = 20
WIDTH_CHARS = 160
"""pandas breaks tables at 80 columns by default, which nobody on this side has."""

_FIGURE_DPI = 120
_in_cell = False


def main(control_fd: int, folders: list[str]) -> None:
    control = socket.socket(fileno=control_fd)
    os.set_inheritable(control_fd, False)
    signal.signal(signal.SIGINT, _on_interrupt)
    # Last, so that a file of the workspace never stands in for a package.
    sys.path += [*folders, os.getcwd()]
    sys.argv = [""]
    main_module = types.ModuleType("__main__")
    sys.modules["__main__"] = main_module
    warnings.filterwarnings("ignore", message=".*non-interactive, and thus cannot be shown")
    sys.meta_path.insert(0, _FigureHook())
    _send(control, {"ready": True})
    while request := _receive(control):
        if "warm" in request:
            _warm_up(request["warm"])
            continue
        own_pid = os.getpid()
        reply = _run(request["code"], request["name"], main_module.__dict__)
        if os.getpid() != own_pid:  # the cell forked, and this is the copy
            os._exit(0)
        _flush()
        _send(control, {"id": request["id"], **reply})


def _warm_up(names: list[str]) -> None:
    """Imports modules in the background: a cell that needs one waits for the rest of its import only."""

    def work() -> None:
        for name in names:
            with contextlib.suppress(Exception):  # it fails again, and is told, in the cell that imports it
                importlib.import_module(name)

    threading.Thread(target=work, daemon=True).start()


def _loaded(name: str) -> Any:
    """A module that has been imported to its end, else None."""
    module = sys.modules.get(name)
    return None if getattr(getattr(module, "__spec__", None), "_initializing", False) else module


def _on_interrupt(number: int, frame: object) -> None:
    if _in_cell:
        raise KeyboardInterrupt


def _send(control: socket.socket, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    control.sendall(struct.pack(">I", len(data)) + data)


def _receive(control: socket.socket) -> dict[str, Any] | None:
    header = _exactly(control, 4)
    body = _exactly(control, struct.unpack(">I", header)[0]) if header else b""
    return json.loads(body) if body else None


def _exactly(control: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = control.recv(count - len(data))
        if not more:
            return b""
        data += more
    return data


# --- one cell ----------------------------------------------------------------------------------------------------


def _run(code: str, name: str, namespace: dict[str, Any]) -> dict[str, Any]:
    global _in_cell
    value = error = ""
    ok = True
    figures: list[str] = []
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    try:
        _in_cell = True
        value = _show(_execute(code, name, namespace), namespace)
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            ok, error = False, f"SystemExit: {leaving.code}"
    except BaseException as failure:  # whatever a cell raises is its result
        ok, error = False, _explain(failure)
    finally:
        _in_cell = False
    try:
        figures = _save_figures()
    except Exception as failure:  # a figure that cannot be drawn is a fault of the cell that made it
        if ok:
            ok, error = False, "while saving an open figure: " + _explain(failure)
    return {"ok": ok, "value": value, "error": _middle_out(error, MAX_ERROR_CHARS), "figures": figures}


def _execute(code: str, name: str, namespace: dict[str, Any]) -> Any:
    """Runs the statements; the answer is the value of the last one if it is an expression."""
    tree = ast.parse(code, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)  # noqa: S102 - running code is what this program is for
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), name, "eval"), namespace)  # noqa: S307


def _show(value: Any, namespace: dict[str, Any]) -> str:
    if value is None:
        return ""
    namespace["_"] = value
    pandas = _loaded("pandas")
    if pandas is not None and not getattr(builtins, "_agent_pandas_set", False):
        pandas.set_option("display.width", WIDTH_CHARS, "display.max_columns", 50)
        builtins._agent_pandas_set = True  # type: ignore[attr-defined]
    return _middle_out(repr(value), MAX_VALUE_CHARS)


def _explain(failure: BaseException) -> str:
    """The traceback without this program's and the libraries' frames: what a cell's author can act on."""
    try:
        story = traceback.TracebackException.from_exception(failure)
        _keep_own_frames(story)
        return "".join(story.format()).strip()
    except Exception:  # an exception whose own text cannot be made
        return type(failure).__name__


def _keep_own_frames(story: traceback.TracebackException) -> None:
    story.stack = traceback.StackSummary.from_list([frame for frame in story.stack if _is_own(frame.filename)])
    for name in ("__cause__", "__context__"):
        linked: traceback.TracebackException | None = getattr(story, name)
        if linked is not None:
            _keep_own_frames(linked)
            if not linked.stack:  # happened and was handled inside a library
                setattr(story, name, None)


def _is_own(path: str) -> bool:
    if path.startswith("<cell "):
        return True
    return path.startswith(os.getcwd() + "/") and "/site-packages/" not in path and path != __file__


def _middle_out(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    half = max_chars // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a cell may have closed or replaced it
            stream.flush()


# --- figures -----------------------------------------------------------------------------------------------------


class _FigureHook(importlib.abc.MetaPathFinder):
    """Notices, when matplotlib is loaded, which figures a cell saves itself: those are not saved a second time."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "matplotlib.figure":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_mark(module: types.ModuleType) -> None:
                load(module)
                _mark_saved(module.Figure)

            spec.loader.exec_module = load_and_mark  # type: ignore[method-assign]
        return spec


def _mark_saved(figure_class: Any) -> None:
    original = figure_class.savefig

    @functools.wraps(original)
    def savefig(self: Any, fname: Any, *arguments: Any, **options: Any) -> Any:
        result = original(self, fname, *arguments, **options)
        if isinstance(fname, (str, os.PathLike)):
            self._saved_by_cell = True
        return result

    figure_class.savefig = savefig


def _save_figures() -> list[str]:
    pyplot = _loaded("matplotlib.pyplot")
    if pyplot is None:
        return []
    saved: list[str] = []
    try:
        for number in pyplot.get_fignums()[:MAX_FIGURES]:
            figure = pyplot.figure(number)
            if figure.axes and not getattr(figure, "_saved_by_cell", False):
                picture = io.BytesIO()
                figure.savefig(picture, format="png", dpi=_FIGURE_DPI, bbox_inches="tight")
                saved.append(_store(picture.getvalue()))
    finally:
        pyplot.close("all")
    return saved


def _store(picture: bytes) -> str:
    """Under the first free name. The same picture again keeps its name; nothing is ever overwritten."""
    number = 1
    while True:
        name = f"figure-{number}.png"
        try:
            with open(name, "xb") as file:
                file.write(picture)
                return name
        except FileExistsError:
            if _holds(name, picture):
                return name
        number += 1


def _holds(name: str, picture: bytes) -> bool:
    try:
        with open(name, "rb") as file:
            return os.fstat(file.fileno()).st_size == len(picture) and file.read() == picture
    except OSError:
        return False


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

"""Interpreters that run the cells of the packaged analysis, as simple as can be: no sandbox, no limits."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

CELLS = """
import contextlib, io, json, sys
names = {"__name__": "__main__"}
for line in sys.stdin:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(json.loads(line), "<cell>", "exec"), names)
    print(json.dumps(shown.getvalue()), flush=True)
"""
WITHOUT_PANDAS = "import sys; sys.modules['pandas'] = None\n"
WARM = """
import os, socket, sys
import matplotlib.pyplot, pandas
with socket.socket(fileno=int(sys.argv[1])) as orders:
    while True:
        folder, streams, _, _ = socket.recv_fds(orders, 10_000, 3)
        if not folder:
            sys.exit()
        if not os.fork():
            break
        for stream in streams:
            os.close(stream)
os.chdir(folder)
for number, stream in enumerate(streams):
    os.dup2(stream, number)
    os.close(stream)
"""
"""Forks for each order, so that the second to import its libraries has them."""
PYTHON = (sys.executable, "-W", "error::FutureWarning", "-c")


class Cells:
    """One interpreter in a folder. `warm`: where it is forked; else it is started by itself."""

    def __init__(self, folder: Path, warm: socket.socket | None, before: str = "") -> None:
        (in_read, in_write), (out_read, out_write), (err_read, err_write) = (os.pipe() for _ in range(3))
        self._process: subprocess.Popen[bytes] | None = None
        if warm:
            socket.send_fds(warm, [os.fsencode(folder)], [in_read, out_write, err_write])
        else:
            command = [*PYTHON, before + CELLS]
            self._process = subprocess.Popen(command, cwd=folder, stdin=in_read, stdout=out_write, stderr=err_write)
        for given in (in_read, out_write, err_write):
            os.close(given)
        self._to, self._from, self._errors = os.fdopen(in_write, "w"), os.fdopen(out_read), os.fdopen(err_read)

    def run(self, code: str) -> str:
        """What the cell printed."""
        self._to.write(json.dumps(code) + "\n")
        self._to.flush()
        shown = self._from.readline()
        assert shown, self.end()
        return json.loads(shown)

    def end(self) -> str:
        """What it said on standard error."""
        self._to.close()
        said = self._errors.read()
        streams: tuple[TextIO, ...] = (self._from, self._errors)
        for stream in streams:
            stream.close()
        if self._process:
            self._process.wait(30)
        return said


@contextlib.contextmanager
def warm_interpreter() -> Iterator[socket.socket]:
    """Where interpreters are forked that have pandas and matplotlib already."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [*PYTHON, WARM + CELLS, str(theirs.fileno())]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    with ours:
        yield ours
    process.wait(30)

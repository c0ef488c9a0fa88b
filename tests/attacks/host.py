"""What stands on the host while an attack runs, and what it sees: listeners, the victim's state, measurements of /proc.

Only descendants of this test's own process, and programs that carry its own marker, are ever looked at.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_S = 0.02  # short against the 100 ms of the watch that it judges


class Listeners:
    """Sockets of the host, one of each kind; `reached` counts what arrived, by kind."""

    NAME = "counted.sock"
    DATAGRAM_NAME = "dgram.sock"

    def __init__(self, folders: list[Path], abstract: str) -> None:
        """`folders`: each gets a socket of that name."""
        self.abstract = abstract
        self._paths = [folder / self.NAME for folder in folders]
        self.reached: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        self._tcp = self._add("tcp", socket.socket(socket.AF_INET6), ("::", 0))
        port = self._tcp.getsockname()[1]
        self._udp = self._add("udp", socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), ("::", 0))
        self.tcp_port, self.udp_port = int(port), int(self._udp.getsockname()[1])
        for path in self._paths:
            self._add(f"{path.parent.name}/{path.name}", socket.socket(socket.AF_UNIX), str(path))
            datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._add(f"datagram {path.parent.name}", datagram, str(path.with_name(self.DATAGRAM_NAME)))
        self._add("abstract", socket.socket(socket.AF_UNIX), "\0" + self.abstract)
        datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._add("datagram abstract", datagram, f"\0{self.abstract}.datagram")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        for path in self._paths:
            path.unlink(missing_ok=True)
            path.with_name(self.DATAGRAM_NAME).unlink(missing_ok=True)

    def _add(self, kind: str, way: socket.socket, address: tuple[str, int] | str) -> socket.socket:
        if way.family == socket.AF_INET6:
            way.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        way.bind(address)
        if way.type == socket.SOCK_STREAM:
            way.listen(16)
        way.setblocking(False)
        self.reached[kind] = 0
        self._selector.register(way, selectors.EVENT_READ, kind)
        return way

    def _serve(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.05):
                self.reached[key.data] += 1
                with contextlib.suppress(OSError):
                    if key.data.startswith(("udp", "datagram")):
                        key.fileobj.recv(4096)  # type: ignore[union-attr]
                    else:
                        key.fileobj.accept()[0].close()  # type: ignore[union-attr]


class Caller:
    """The host's side of a reverse channel: goes on trying to connect to one port."""

    def __init__(self) -> None:
        self.answered = 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._call, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _call(self) -> None:
        while not self._stop.wait(0.05):
            for host in ("127.0.0.1", "::1"):
                with contextlib.suppress(OSError), socket.create_connection((host, self.port), 0.2) as link:
                    # A free port of this machine may answer its own caller.
                    self.answered += link.getsockname() != link.getpeername()


def own_addresses() -> list[str]:
    """By which others reach this machine: asked of the routing table, nothing is sent."""
    found = {"127.0.0.1"}
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect(("192.0.2.1", 9))
        found.add(str(way.getsockname()[0]))
    return sorted(found)


@dataclass
class Peaks:
    """The most that was ever seen at once, of all descendants of one process."""

    tasks: int = 0
    memory_bytes: int = 0
    """Anonymous memory, and shared memory of the whole machine beyond what it was before."""
    size_bytes: int = 0
    """By how much the workspace grew: blocks on the disk."""
    entries: int = 0


class Sampler:
    """Looks at what the programs started by this process have started, and at the workspace, until it is left."""

    def __init__(self, workspace: Path) -> None:
        self.peaks = Peaks()
        self._workspace = workspace
        self._already = set(_children(os.getpid()))
        self._before = usage(workspace)
        self._shared = _shared_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._look_at_workspace()

    def _watch(self) -> None:
        next_look = 0.0
        while not self._stop.wait(_SAMPLE_S):
            started = set(_children(os.getpid())) - self._already
            found = [below for pid in started for below in descendants(pid)]
            self.peaks.tasks = max(self.peaks.tasks, sum(_tasks(pid) for pid in found))
            memory = sum(_anonymous_bytes(pid) for pid in found) + max(0, _shared_bytes() - self._shared)
            self.peaks.memory_bytes = max(self.peaks.memory_bytes, memory)
            if time.monotonic() > next_look:
                began = time.monotonic()
                self._look_at_workspace()
                next_look = time.monotonic() + max(0.1, 10 * (time.monotonic() - began))

    def _look_at_workspace(self) -> None:
        size, entries = usage(self._workspace)
        self.peaks.size_bytes = max(self.peaks.size_bytes, size - self._before[0])
        self.peaks.entries = max(self.peaks.entries, entries - self._before[1])


def usage(folder: Path) -> tuple[int, int]:
    """Bytes on the disk and entries below `folder`, however deep, and never through a link."""
    size = entries = 0
    open_fds = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY)]
    while open_fds:
        with os.scandir(here := open_fds.pop()) as found:
            for entry in found:
                entries += 1
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                        open_fds.append(os.open(entry.name, flags, dir_fd=here))
                    else:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
        os.close(here)
    return size, entries


def descendants(pid: int) -> list[int]:
    """The processes below `pid`."""
    found: list[int] = []
    ahead = [pid]
    while ahead:
        below = list(_children(ahead.pop()))
        found += below
        ahead += below
    return found


def started_at(pid: int) -> str:
    """Which process of this number it is; empty when there is none, or only its entry in the table."""
    fields = _stat(pid)
    return fields[19] if fields and fields[0] not in "ZX" else ""


def survivors(marker: str) -> list[int]:
    """The processes of this machine that have exactly `marker` as an argument."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if marker.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def still_there(marker: str, within_s: float) -> list[int]:
    """Those that are left after at most `within_s`."""
    deadline = time.monotonic() + within_s
    while (found := survivors(marker)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def ended(found: list[int]) -> list[int]:
    """Ends what should not be there any more, and answers it."""
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                yield from map(int, (task / "children").read_text().split())


def state_of(pid: int) -> tuple[object, ...]:
    """What others might change of a process; empty when it is gone."""
    try:
        limits = tuple(resource.prlimit(pid, kind) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE))
        nice, scheduler = os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid)
        stopped = (_stat(pid) or ["Z"])[0] in "TtZX"
        return (*limits, nice, scheduler, frozenset(os.sched_getaffinity(pid)), stopped)
    except ProcessLookupError:
        return ()


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _tasks(pid: int) -> int:
    """Threads of a process that is not yet a mere entry of the table."""
    fields = _stat(pid)
    return int(fields[17]) if fields and fields[0] != "Z" else 0


def _anonymous_bytes(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError):
        words = Path(f"/proc/{pid}/statm").read_text().split()
        return max(0, int(words[1]) - int(words[2])) * _PAGE_BYTES  # resident less file-backed and shared
    return 0


def _shared_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Shmem:"):
            return int(line.split()[1]) << 10
    return 0

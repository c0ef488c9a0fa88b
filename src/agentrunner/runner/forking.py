"""`agent sessions fork` and `rm`: a new session that goes on from a step of another, and the end of one."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentrunner.engine.session import worked_seconds
from agentrunner.errors import UsageError
from agentrunner.journal import SessionLock, new_session_id, session_folder
from agentrunner.runner.carrying import is_output
from agentrunner.runner.contents import Saved, Store, restore
from agentrunner.runner.intake import check_workspace
from agentrunner.runner.snapshots import (
    Record,
    copy_records,
    named_anywhere,
    read_records,
    record_file,
    since_whole,
    state_of,
)
from agentrunner.tools.output import PREFIX
from agentrunner.types import Event

if TYPE_CHECKING:
    from agentrunner.journal import SqlJournal

BELONGS = ("completion.received", "tool.started", "tool.finished", "guard.verdict", "human.asked", "human.answered")
"""Events that make up a step."""


@dataclass(frozen=True, slots=True)
class Fork:
    session_id: str
    workspace: Path
    left_out: Sequence[str]
    """Files that were there and are not kept: they may hold secrets, or have a second name elsewhere."""


async def fork(journal: "SqlJournal", session_id: str, step: int, workspace: Path | None) -> Fork:
    """A new session with the steps up to and with `step`, in a folder of its own that holds the workspace as it was
    after it. Raises `UsageError` when there is no such step, or that state was not kept."""
    events = journal.load(session_id)
    kept = _until(events, step)
    home = journal.home
    try:
        records = _records(read_records(record_file(home, session_id)), kept, step)
    except OSError as error:
        raise _not_kept(step, f"its record cannot be read ({error.strerror})") from error
    new = new_session_id()
    old_place = Path(kept[0].data["workspace"])
    with SessionLock(home, new):
        place, made = _new_folder(workspace or old_place.with_name(f"{old_place.name}-fork-{new[-8:]}"), home)
        folder = session_folder(home, new)
        try:
            # The records come first: while they name a content, nobody prunes it.
            with Store(home).held(fcntl.LOCK_SH):
                copy_records(record_file(home, session_id), record_file(home, new), records)
                missing = _fill(Store(home), state_of(records), place, old_place)
            _copy_outputs(session_folder(home, session_id) / "outputs", folder / "outputs", kept)
            await journal.append(new, 0, _as_new(kept, session_id, step, place))
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            _empty(place, whole=made)
            if isinstance(error, OSError):
                raise UsageError(
                    f"the fork cannot be written to {str(place)!r}: {error.strerror}", "give --workspace another folder"
                ) from error
            raise
    return Fork(new, place, missing)


def remove_session(journal: "SqlJournal", session_id: str) -> Collection[str]:
    """Delete a session, and what only it had kept of its workspace. The workspace itself stays, and so do its files
    while other databases have a copy of it: their names come back. The caller holds the session's lock."""
    if not (journal.home / "snapshots").is_dir():
        return journal.remove(session_id)
    store = Store(journal.home)
    with store.held(fcntl.LOCK_EX):
        others = journal.remove(session_id)
        # With a record that cannot be read nobody knows what its session needs: then all of it stays.
        with contextlib.suppress(OSError):
            named = named_anywhere(journal.home)
            if named is not None:
                store.prune(named)
        return others


def _until(events: Sequence[Event], step: int) -> Sequence[Event]:
    """The events up to the last one that belongs to the step; for step 0 only the first."""
    steps = max((event.data["step"] or 0 for event in events if event.type == "completion.received"), default=0)
    if not 0 <= step <= steps:
        raise UsageError(
            f"session {events[0].session_id} has no step {step}",
            f"its steps are 1 to {steps}, and 0 is its beginning" if steps else "only 0, its beginning",
        )
    if step == 0:
        return events[:1]
    last = max(i for i, event in enumerate(events) if event.type in BELONGS and event.data["step"] == step)
    return events[: last + 1]


def _records(records: Sequence[Record], kept: Sequence[Event], step: int) -> Sequence[Record]:
    """Those that lead to the workspace as it was at the end of `kept`. Raises `UsageError` when it was not kept."""
    claims = [i for i, event in enumerate(kept) if event.type == "session.claimed"]
    finished = [event for event in kept if event.type == "tool.finished" and event.data.get("_workspace")]
    places = {event.key for event in finished}
    attempt = len(claims)
    last = max((i for i, record in enumerate(records) if record.place in places), default=0)
    beginnings = [i for i, record in enumerate(records) if not (record.place or record.lost)]
    last = max(last, *(i for i in beginnings if records[i].attempt <= attempt), 0)
    if not records:
        hint = "if it was imported, export it --with-files and import that; else fork another step"
        raise UsageError(f"the workspace as it was at step {step} is not there: no state of it was kept", hint)
    if off := records[last].off:
        raise _not_kept(step, off)
    looked = [event for event in finished if claims and event.seq > kept[claims[-1]].seq]
    needed = since_whole(records[: last + 1])
    # The beginning of an attempt that changed nothing yet shows in its record only.
    unsure = not looked and records[last].attempt < attempt
    if any(record.lost for record in (*needed, *(records[last + 1 : last + 2] if unsure else ()))):
        raise _not_kept(step, "the record of it is damaged")
    if looked and looked[-1].data["_workspace"] != records[last].tree:
        raise _not_kept(step, "the record of it is not whole")
    return needed


def _not_kept(step: int, why: str) -> UsageError:
    return UsageError(f"the workspace as it was at step {step} is not there: {why}", "fork another step")


def _new_folder(path: Path, home: Path) -> tuple[Path, bool]:
    """An empty folder, and whether it was made."""
    there = path.exists() or path.is_symlink()
    if there and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(f"{str(path)!r} exists already", "give --workspace a folder that is new or empty")
    return check_workspace(path, home), not there


def _fill(store: Store, state: dict[str, Saved], place: Path, like: Path) -> list[str]:
    """The files, owned by whom the first workspace belongs to when root forks it."""
    owner = None
    if os.geteuid() == 0 and like.is_dir() and like.stat().st_uid:
        owner = (like.stat().st_uid, like.stat().st_gid)
        os.chown(place, *owner)
    return restore(store, state, place, owner)


def _copy_outputs(source: Path, target: Path, kept: Sequence[Event]) -> None:
    for event in kept:
        name = str(event.data.get("_saved_as") or "").removeprefix(PREFIX)
        if event.type == "tool.finished" and is_output(name) and (source / name).is_file():
            target.mkdir(mode=0o700, exist_ok=True)
            shutil.copyfile(source / name, target / name)


def _as_new(kept: Sequence[Event], origin: str, step: int, place: Path) -> list[tuple[str, str, dict[str, object]]]:
    created = kept[0].data
    settings = created["_settings"] | {"workspace": str(place)}
    first = created | {"workspace": str(place), "_settings": settings, "forked_from": {"session": origin, "step": step}}
    copies = [(event.type, event.key, event.data) for event in kept[1:]]
    forked = {"from": origin, "step": step, "seconds": round(worked_seconds(kept), 3)}
    return [("session.created", "", first), *copies, ("session.forked", "", forked)]


def _empty(place: Path, *, whole: bool) -> None:
    if whole:
        shutil.rmtree(place, ignore_errors=True)
        return
    remove: Callable[[Path], object]
    for path in place.iterdir():
        remove = shutil.rmtree if path.is_dir() and not path.is_symlink() else Path.unlink
        remove(path)

"""The engine's own view of one session's journal: what is past, what waits to be written, who is told."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

from agentrunner.types import JSON, Event, Journal, Listener


class Log:
    """Buffers events until `flush` writes them in one commit; then the listeners hear of them, in order."""

    def __init__(self, journal: Journal, session_id: str, past: Sequence[Event], listeners: Iterable[Listener]) -> None:
        self._journal = journal
        self._session_id = session_id
        self._listeners = tuple(listeners)
        self._pending: list[tuple[str, str, JSON]] = []
        self._handled: list[int] = []
        self._writing = asyncio.Lock()
        self._past: dict[str, list[Event]] = defaultdict(list)
        self.seq = past[-1].seq if past else 0
        for event in past:
            self.index(event)

    def index(self, event: Event) -> None:
        """Make an event findable by its key: it counts as past from now on."""
        self._past[event.key].append(event)

    def past(self, key: str, type_: str) -> list[Event]:
        """What the journal held of this type under this key when the attempt began."""
        return [event for event in self._past.get(key, ()) if event.type == type_]

    def last(self, key: str, type_: str) -> Event | None:
        return next(iter(reversed(self.past(key, type_))), None)

    def knows(self, key: str) -> bool:
        return key in self._past

    def note(self, type_: str, key: str, data: JSON) -> None:
        """Add an event to the next commit."""
        self._pending.append((type_, key, data))

    def inbox(self, *, outputs: bool) -> list[tuple[int, str, JSON]]:
        """What others left for this session: (id, kind, data). Each is marked handled in the next commit. Results of
        external tools wait until they are asked for with `outputs`, which leaves words and budgets waiting."""
        kinds = ("tool_outputs", "cancel")
        entries = [
            entry
            for entry in self._journal.drain(self._session_id)
            if (entry[1] in kinds if outputs else entry[1] != "tool_outputs")
        ]
        self._handled += [entry[0] for entry in entries]
        return entries

    async def flush(self) -> list[Event]:
        """Write what is pending in one durable commit. Raises `Fenced`, `JournalFull`. When it returns, all that was
        noted before is written, be it by another branch."""
        async with self._writing:
            return await self._write()

    async def _write(self) -> list[Event]:
        if not self._pending:
            return []
        pending, self._pending = self._pending, []
        handled, self._handled = self._handled, []
        events = await self._journal.append(self._session_id, self.seq, pending, handled=handled)
        self.seq = events[-1].seq
        for event in events:
            for listener in self._listeners:
                listener(event)
        return events

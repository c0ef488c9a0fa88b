"""Sessions that write at the same moment: those in the middle of a step go first, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from agentrunner.journal import GroupedJournal, new_session_id, open_journal
from agentrunner.types import JSON

COUNT = 24
EMPTY: JSON = {}


def on_one_journal(home: Path, run: Callable[[GroupedJournal], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        with contextlib.closing(open_journal(home)) as journal, contextlib.closing(GroupedJournal(journal)) as grouped:
            await asyncio.wait_for(run(grouped), 30)

    asyncio.run(all_of_it())


def test_a_session_that_began_a_step_ends_it_before_most_others_begin_theirs(home: Path) -> None:
    ended: list[int] = []
    begun_when_first_ended: list[int] = []

    async def run(grouped: GroupedJournal) -> None:
        begun: list[int] = []

        async def session(number: int) -> None:
            id_ = new_session_id()
            await grouped.append(id_, 0, [("note", "", EMPTY)])
            begun.append(number)
            await grouped.append(id_, 1, [("note", "", EMPTY)])
            if not ended:
                begun_when_first_ended.append(len(begun))
            ended.append(number)

        await asyncio.gather(*(session(number) for number in range(COUNT)))

    on_one_journal(home, run)
    assert sorted(ended) == list(range(COUNT))
    assert begun_when_first_ended[0] <= COUNT // 2


def test_one_that_is_cancelled_while_it_waits_lets_the_next_one_in(home: Path) -> None:
    async def run(grouped: GroupedJournal) -> None:
        ids = [new_session_id() for _ in range(COUNT)]
        tasks = [asyncio.create_task(grouped.append(id_, 0, [("note", "", EMPTY)])) for id_ in ids]
        await asyncio.sleep(0)
        for task in tasks[1::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not any(task.cancelled() for task in tasks[::2])
        assert all(grouped.load(id_) for id_ in ids[::2])
        await grouped.append(new_session_id(), 0, [("note", "", EMPTY)])

    on_one_journal(home, run)


def test_an_append_that_fails_lets_the_next_one_in(home: Path) -> None:
    async def run(grouped: GroupedJournal) -> None:
        good = [new_session_id() for _ in range(COUNT)]
        appends = [
            grouped.append(id_, 0, [("note", "", {"what": object()} if n % 2 else EMPTY)]) for n, id_ in enumerate(good)
        ]
        done = await asyncio.gather(*appends, return_exceptions=True)
        assert [isinstance(one, BaseException) for one in done] == [bool(n % 2) for n in range(COUNT)]

    on_one_journal(home, run)


def test_sessions_on_two_event_loops_do_not_wait_for_each_other(home: Path) -> None:
    with contextlib.closing(open_journal(home)) as journal, contextlib.closing(GroupedJournal(journal)) as grouped:

        async def some() -> None:
            await asyncio.gather(*(grouped.append(new_session_id(), 0, [("note", "", EMPTY)]) for _ in range(COUNT)))

        async def both() -> None:
            await asyncio.gather(some(), asyncio.to_thread(asyncio.run, some()))

        asyncio.run(asyncio.wait_for(both(), 30))

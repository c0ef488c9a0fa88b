"""Branches of a strategy that run side by side: all answers, or the end of all when one of them ends the attempt."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from agentrunner.engine.run import Run, Stop
from agentrunner.types import Answer


async def side_by_side(run: Run, branches: Sequence[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """The branches' answers in order; so many run at a time as the attempt allows, the first ones first. When one stops
    the attempt, the others finish what they are doing, so that nothing that was paid for is thrown away; any other
    failure, or a cancellation, ends them at once."""
    slots = asyncio.Semaphore(run.parts.parallel or len(branches) or 1)
    tasks = [asyncio.ensure_future(_in_turn(run, branch, slots)) for branch in branches]
    try:
        waiting = set(tasks)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
            failures = [task.exception() for task in tasks if task in done]
            for failure in failures:
                if failure is not None and not isinstance(failure, Stop):
                    raise failure
            run.ending = run.ending or next((one for one in failures if isinstance(one, Stop)), None)
            run.settled()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if run.ending is None:
        return [task.result() for task in tasks]
    run.ending.pending = _pending(run.ending, [task.exception() for task in tasks])
    raise run.ending


async def _in_turn(run: Run, branch: Coroutine[Any, Any, Answer], slots: asyncio.Semaphore) -> Answer:
    waits = slots.locked()
    try:
        async with slots:
            if waits and run.ending is not None:
                raise run.ending
            return await branch
    except Stop as stop:  # Noted before the next one takes the place.
        run.ending = run.ending or stop
        raise
    finally:
        branch.close()  # One that never began; closing any other changes nothing.


def _pending(ending: Stop, failures: Sequence[BaseException | None]) -> list[Any]:
    """The open questions of all branches that stopped for the same reason."""
    others = [one for one in failures if isinstance(one, Stop) and one is not ending and one.reason == ending.reason]
    return [*ending.pending, *(question for stop in others for question in stop.pending)]

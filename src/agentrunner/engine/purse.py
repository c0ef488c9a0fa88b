"""What a tool buys out of the budget of its session: booked in the journal before it is asked for, settled after it.

It knows nothing of what is bought. A tool that bought nothing has no line of this in the journal.
"""

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from agentrunner.engine.run import Run

T = TypeVar("T")


class Unpaid(Exception):
    """It is not in the budget; the text says why, for whoever has to do without."""


class Purse:
    """Of one attempt at a session; the engine opens it when the attempt begins."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._bought = 0

    def open(self, run: Run) -> None:
        self._run = run

    async def pay(self, place: str, usd: float, work: Callable[[], Awaitable[tuple[T, float]]]) -> T:
        """What `work` returns with its cost, which is `usd` at most. `place`: the key of the tool's call. Raises
        `Unpaid`, and nothing was begun, where a limit does not leave so much; a price that is not known is infinite.
        When `work` breaks off, all of it may have been billed."""
        run = self._run
        assert run is not None, "an attempt opens its purse before any tool runs"
        if usd == math.inf and (run.parts.ledger.budget.usd is not None or run.parts.book is not None):
            raise Unpaid("its price is not known")
        if not usd or usd == math.inf:
            return (await work())[0]
        self._bought += 1
        key = f"{place}#{self._bought}"
        await self._book(run, key, place, usd)
        cost = usd
        try:
            value, cost = await work()
        finally:
            run.parts.ledger.settle_purchase(key, cost)
            run.settled()
            settled = {"_purchase": key, "cost_usd": cost, "spent_usd": run.parts.ledger.spent_usd}
            run.log.note("purchase.settled", place, settled)
        return value

    async def _book(self, run: Run, key: str, place: str, usd: float) -> None:
        ledger = run.parts.ledger
        if not ledger.reserve_purchase(key, usd):
            raise Unpaid(f"it does not fit into what is left of ${ledger.budget.usd or 0:g}")
        try:
            await self._share(run, usd)
            run.log.note("purchase.booked", place, {"_purchase": key, "usd": usd})
            await run.log.flush()
        except BaseException:
            ledger.release_purchase(key)  # Nothing was asked for yet.
            raise

    async def _share(self, run: Run, usd: float) -> None:
        """Book it with the account that other sessions share."""
        if run.parts.book is None:
            return
        await run.log.flush()  # What is not written would count, after a kill, for all that was reserved for it.
        ledger = run.parts.ledger
        share = await run.parts.book(ledger.spent_usd, ledger.usd_booked() - ledger.spent_usd - usd, usd)
        if share is not None:
            raise Unpaid(share.text)

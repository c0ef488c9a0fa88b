"""What the runs of a key have spent and reserved, all together: booked before each request, so that a limit is a wall.

Amounts are billionths of a dollar. A run that is not over has a row of its own; one that is over is in its key's sum.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from agentrunner.engine import Unpaid
from agentrunner.errors import UsageError
from agentrunner.guard.ledger import Share
from agentrunner.journal.database import Execute
from agentrunner.server.faults import ApiError
from agentrunner.server.keys import DEFAULT_OWNER, NANO
from agentrunner.server.services import Services


class Spent(NamedTuple):
    """What a session says of itself. `ended`: nothing of it is on its way; `over`: and nothing will be."""

    usd: float
    ended: bool
    over: bool


def nano(usd: float) -> int:
    """Rounded up: what is booked is never less than what it is for, but for what sums of floats are off."""
    return math.ceil(usd * NANO - 1e-3)


def account(
    services: Services, owner: str, run_id: str, *, fresh: bool, unpriced: str
) -> Callable[[float, float, float], Awaitable[Share | None]] | None:
    """Where a run's requests are booked; None without a key. `fresh`: its session has just begun; `unpriced`: the
    model, where nobody knows what it costs."""
    if owner == DEFAULT_OWNER:
        return None
    new = fresh

    async def booked(spent_usd: float, reserved_usd: float, more_usd: float) -> Share | None:
        nonlocal new
        first, new = new, False

        def work(execute: Execute) -> Share | None:
            if first:  # Its session was removed by hand, and it begins again: what that one spent is spent.
                close(execute, owner, run_id)
            return book(execute, owner, run_id, spent_usd, reserved_usd, more_usd, unpriced)

        return await services.store.write_all(work)

    return booked


def book(
    execute: Execute, owner: str, run_id: str, spent_usd: float, reserved_usd: float, more_usd: float, unpriced: str
) -> Share | None:
    """Book what a run spent, what it has reserved, and `more`; or leave `more` out, and say what there is for it."""
    # Whoever changes this row holds it until its transaction ends: no two runs of a key book at the same time.
    row = execute(
        "UPDATE server_keys SET spent_nano_usd = spent_nano_usd WHERE id = ? RETURNING max_nano_usd, spent_nano_usd",
        (owner,),
    ).fetchone()
    if row is None:
        return Share(0.0, "the key of this run was removed", wait=False)
    limit = None if row[0] is None else int(row[0])
    if limit is not None and unpriced:
        raise UsageError(
            f"the price of {unpriced!r} is not known, so the limit of this key cannot be held",
            "start the server with --price IN,OUT in US dollars per million tokens",
        )
    before, wanted = nano(spent_usd + reserved_usd), nano(spent_usd + reserved_usd + more_usd)
    spent, reserved = _others(execute, owner, run_id)
    room = wanted if limit is None else limit - int(row[1]) - spent - reserved
    fits = limit != 0 and wanted <= room
    execute(
        "INSERT INTO server_spending (run_id, owner, spent, reserved) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (run_id) DO UPDATE SET spent = excluded.spent, reserved = excluded.reserved",
        (run_id, owner, nano(spent_usd), (wanted if fits else before) - nano(spent_usd)),
    )
    if fits:
        return None
    text = f"the next request does not fit into what is left of the ${(limit or 0) / NANO:g} of this key"
    return Share(max(0, room - 1) / NANO, text, wait=reserved > 0)


def take(execute: Execute, owner: str, usd: float) -> None:
    """Count what is bought outside of any run as spent before it is asked for. Raises `Unpaid` where the key's limit
    leaves less; a price that is not known is infinite."""
    amount = 0 if usd == math.inf else nano(usd)
    row = execute(
        "UPDATE server_keys SET spent_nano_usd = spent_nano_usd + ? WHERE id = ?"
        " RETURNING max_nano_usd, spent_nano_usd",
        (amount, owner),
    ).fetchone()
    if row is None:
        raise Unpaid("the key was removed")
    if row[0] is None:
        return
    if usd == math.inf:
        raise Unpaid("its price is not known, so the limit of this key could not be held")
    if int(row[0]) == 0 or int(row[1]) + sum(_others(execute, owner, "")) > int(row[0]):
        raise Unpaid(f"it does not fit into what is left of the ${int(row[0]) / NANO:g} of this key")


def give_back(execute: Execute, owner: str, usd: float, cost: float) -> None:
    """What was taken, and did not have to be paid."""
    if cost < usd < math.inf:
        more = nano(usd) - nano(cost)
        execute("UPDATE server_keys SET spent_nano_usd = spent_nano_usd - ? WHERE id = ?", (more, owner))


def settle(execute: Execute, owner: str, run_id: str, said: Spent) -> None:
    """Take in what a session says, in the order in which it says it. A request may be booked already that followed."""
    spent = nano(said.usd)
    if said.over:
        close(execute, owner, run_id, spent if said.ended else None)
    elif said.ended:
        execute("UPDATE server_spending SET spent = ?, reserved = 0 WHERE run_id = ?", (spent, run_id))
    else:
        execute(
            "UPDATE server_spending SET spent = ?, reserved = 0 WHERE run_id = ? AND spent < ?", (spent, run_id, spent)
        )


def close(execute: Execute, owner: str, run_id: str, spent: int | None = None) -> None:
    """Add a run to the sum of its key: what it spent, or, where nobody will know, all that is booked for it."""
    row = execute("DELETE FROM server_spending WHERE run_id = ? RETURNING spent + reserved", (run_id,)).fetchone()
    if row is not None:
        total = int(row[0]) if spent is None else spent
        execute("UPDATE server_keys SET spent_nano_usd = spent_nano_usd + ? WHERE id = ?", (total, owner))


def refuse_when_spent(execute: Execute, owner: str, least_usd: float) -> None:
    """Raises `ApiError` when a key's limit leaves less than this, whatever becomes of what is reserved."""
    row = execute("SELECT max_nano_usd, spent_nano_usd FROM server_keys WHERE id = ?", (owner,)).fetchone()
    if row is None or row[0] is None:
        return
    spent = int(row[1]) + _others(execute, owner, "")[0]
    if row[0] == 0 or int(row[0]) - spent < nano(least_usd):
        raise ApiError(
            429,
            f"You exceeded your current quota: ${spent / NANO:.4f} of the ${int(row[0]) / NANO:g} of this key are"
            " spent. Whoever runs this server can raise its limit with 'agent keys limit'.",
            code="insufficient_quota",
            kind="insufficient_quota",
            retry=False,
        )


def _others(execute: Execute, owner: str, run_id: str) -> tuple[int, int]:
    """Spent and reserved by the other runs of this key that are not over."""
    query = (
        "SELECT COALESCE(SUM(spent), 0), COALESCE(SUM(reserved), 0) FROM server_spending"
        " WHERE owner = ? AND run_id <> ?"
    )
    spent, reserved = execute(query, (owner, run_id)).fetchone()
    return int(spent), int(reserved)

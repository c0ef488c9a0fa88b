"""The budget as a wall: the worst case of a request is reserved before it is sent, and settled when it was answered.

It does no I/O and reads no clock. Its state can be rebuilt from a session's events, which is what a resume does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agentrunner.guard.bounds import Bounds
from agentrunner.types import JSON, Budget, Event, Usage

MIN_OUTPUT_TOKENS = 256
"""An answer that may be no longer than this is not worth its prompt."""
ROOMY_OUTPUT_TOKENS = 4_096
"""Few answers are longer. A branch rather waits for another's reservation to be settled than have less than this."""
WRAP_UP_INPUT_BYTES = 6_000 + 500
"""The wrap-up's prompt, and what an endpoint's chat template adds to it."""
WRAP_UP_OUTPUT_TOKENS = 400
WRAP_UP_SHARE = 0.05
"""Of a limit that is held back for the last words, at most: what is held back is not worked with."""
ROUNDING = 1e-9
"""Share of the cost limit that is never spent, far more than sums of floats can be off."""

Reason = Literal["budget_steps", "budget_cost", "budget_tokens", "budget_time"]


class Rates(Protocol):
    """Prices of one model."""

    def worst(self, input_tokens: int) -> tuple[float, float]:
        """US dollars per million tokens of input and of output, the highest that a prompt of this size can meet."""
        ...

    def cost(self, usage: Usage) -> float: ...


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one attempt may use at most. `cap` is what the endpoint is told; it may be known to bill more than that.
    `prefix_bytes` is the size of the conversation that the attempt carries."""

    input_tokens: int
    output_tokens: int
    usd: float
    prefix_bytes: int
    cap: int
    step: bool = True


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Nothing may be sent any more; or, with `wait`, not before another reservation is settled."""

    reason: Reason
    text: str
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """What an account leaves to this session that others spend from, too: so much in all. `wait`: it may be more when
    what others have reserved is settled."""

    usd: float
    text: str
    wait: bool


@dataclass(slots=True)
class Ledger:
    """The account of one session, over all its attempts and branches. `rates` None means that answers cost nothing."""

    budget: Budget
    rates: Rates | None = None
    violations: list[JSON] = field(default_factory=list[JSON])
    """What was billed above its bound, as journalled."""
    steps: int = 0
    spent_usd: float = 0.0
    usage: Usage = field(default_factory=Usage)
    unsettled_tokens: int = 0
    """Reserved by attempts whose outcome will never be known."""
    bounds: Bounds = field(default_factory=Bounds)
    share: Share | None = None
    """Set while a shared account leaves less than the session's own limit."""
    _open: dict[str, Reservation] = field(default_factory=dict[str, Reservation])
    _above_bound: bool = False
    _purchases: dict[str, float] = field(default_factory=dict[str, float])
    """What tools have booked for what they buy, in US dollars."""

    @property
    def guaranteed(self) -> bool:
        """Whether everything that was billed stayed within what had been reserved for it."""
        return not self.violations and not self._above_bound

    @property
    def steps_in_flight(self) -> int:
        return sum(one.step for one in self._open.values())

    def reserve(
        self,
        key: str,
        conversation: tuple[str, int],
        prefix_bytes: int,
        trailing_bytes: int,
        cap: int,
        wrap_up: bool = False,
    ) -> Reservation | Exhausted:
        """Book the worst case of one attempt, with the output cap shrunk to what fits, or say what is used up."""
        limit = self.budget.steps
        if not wrap_up and limit is not None and self.steps + self.steps_in_flight >= limit:
            text = f"the limit of {limit} step{'' if limit == 1 else 's'} is used up"
            return Exhausted("budget_steps", text, wait=self.steps < limit)
        bound = self.bounds.input_tokens(conversation, prefix_bytes, trailing_bytes)
        in_rate, out_rate = self._worst_rates(bound)
        fits = cap
        for reason, room, text, wait in self._rooms(bound, in_rate, out_rate, wrap_up):
            fits_here = self.bounds.cap_within(room) if room is not None else cap
            if fits_here < min(MIN_OUTPUT_TOKENS, cap):
                return Exhausted(reason, text, wait)
            if fits_here < min(ROOMY_OUTPUT_TOKENS, cap) and wait:
                return Exhausted(reason, text, wait)
            fits = min(fits, fits_here)
        billed = self.bounds.billed_output(fits)
        reservation = Reservation(bound, billed, bound * in_rate + billed * out_rate, prefix_bytes, fits, not wrap_up)
        self._open[key] = reservation
        return reservation

    def settle(self, key: str, usage: Usage | None, *, step: bool = True) -> float:
        """Close a reservation with what was used (None: all of it). Returns its cost in US dollars."""
        reservation = self._open.pop(key)
        if usage is None:
            usage = Usage(reservation.input_tokens, 0, reservation.output_tokens)
            cost = reservation.usd
        else:
            cost = self.rates.cost(usage) if self.rates else 0.0
            self._above_bound = self._above_bound or above(usage, reservation)
        self.spent_usd += cost
        self.usage += usage
        self.steps += step
        return cost

    def release(self, key: str) -> None:
        """Close the reservation of an attempt that was not billed."""
        self._open.pop(key, None)

    def keep(self, key: str, output_tokens: int = 0) -> float:
        """Close the reservation of an attempt that may have been billed: it stays booked for ever. `output_tokens`:
        what came of it before it was ended, when that is more than was reserved."""
        reservation = self._open[key]
        _, out_rate = self._worst_rates(reservation.input_tokens)
        more = max(0, output_tokens - reservation.output_tokens)
        return self._book(key, reservation.usd + more * out_rate, more)

    def reserve_purchase(self, key: str, usd: float) -> bool:
        """Book what a tool buys, at its highest price. False, and nothing is booked, where the limit leaves less."""
        limit = self.budget.usd
        if limit is not None and not self.usd_booked() + usd + self._kept_usd(limit) <= limit * (1 - ROUNDING):
            return False
        self._purchases[key] = usd
        return True

    def settle_purchase(self, key: str, usd: float) -> None:
        self._purchases.pop(key)
        self.spent_usd += usd

    def release_purchase(self, key: str) -> None:
        """Nothing was bought."""
        self._purchases.pop(key)

    def violated(self, violation: JSON) -> None:
        """Take in that something was billed above its bound: {input_tokens, input_tokens_bound, output_tokens,
        max_output_tokens}. All later bounds are wider."""
        self.violations.append(violation)
        self.bounds.widen(
            violation["input_tokens"] / max(1, violation["input_tokens_bound"]),
            violation["output_tokens"] / max(1, violation["max_output_tokens"]),
        )

    def raise_by(self, more: Mapping[str, float | int | None]) -> None:
        """Add to limits: steps, usd, tokens, seconds. A limit that is none stays none."""
        old = self.budget
        self.budget = Budget(
            None if old.steps is None else old.steps + int(more.get("steps") or 0),
            None if old.usd is None else old.usd + float(more.get("usd") or 0),
            None if old.tokens is None else old.tokens + int(more.get("tokens") or 0),
            None if old.seconds is None else old.seconds + float(more.get("seconds") or 0),
        )

    def recover(self, event: Event) -> None:
        """Take one past event into account. An attempt without an outcome stays booked when its session is claimed."""
        data = event.data
        match event.type:
            case "request.sent":
                cap = data["max_output_tokens"]
                billed = data.get("_output_tokens_bound", cap)
                self._open[event.key] = Reservation(
                    data["input_tokens_bound"], billed, data["reserved_usd"], data["_prefix_bytes"], cap
                )
            case "completion.received":
                self._open.pop(event.key, None)
                self.spent_usd += data["cost_usd"]
                self.usage += usage_of(data["usage"])
                self.steps += data["step"] is not None
                self._above_bound = self._above_bound or data["_above_bound"]
            case "request.failed" if event.key in self._open:
                if data["booked_usd"] is None:
                    self.release(event.key)
                else:
                    more = max(0, data.get("_output_tokens", 0) - self._open[event.key].output_tokens)
                    self._book(event.key, data["booked_usd"], more)
            case "budget.violated":
                self.violated(data)
            case "session.claimed":
                for key in list(self._open):
                    self.keep(key)
                for key in list(self._purchases):
                    self.settle_purchase(key, self._purchases[key])
            case "purchase.booked":
                self._purchases[data["_purchase"]] = data["usd"]
            case "purchase.settled":
                self.settle_purchase(data["_purchase"], data["cost_usd"])
            case "budget.raised":
                self.raise_by(data)
            case _:
                pass

    def usd_booked(self) -> float:
        return self.spent_usd + sum(r.usd for r in self._open.values()) + sum(self._purchases.values())

    def tokens_booked(self) -> int:
        reserved = sum(r.input_tokens + r.output_tokens for r in self._open.values())
        return self.usage.input_tokens + self.usage.output_tokens + self.unsettled_tokens + reserved

    def _book(self, key: str, usd: float, more_tokens: int) -> float:
        reservation = self._open.pop(key)
        self.spent_usd += usd
        self.unsettled_tokens += reservation.input_tokens + reservation.output_tokens + more_tokens
        return usd

    def _rooms(
        self, bound: int, in_rate: float, out_rate: float, wrap_up: bool
    ) -> list[tuple[Reason, int | None, str, bool]]:
        """What is left for the answer under each limit, in tokens; None where it does not matter. Each with what is
        said when it is too little, and whether it may become more."""
        budget, rooms = self.budget, list[tuple[Reason, int | None, str, bool]]()
        wait = bool(self._open or self._purchases)
        if budget.tokens is not None:
            kept = WRAP_UP_INPUT_BYTES + WRAP_UP_OUTPUT_TOKENS
            kept = 0 if wrap_up else min(kept, int(budget.tokens * WRAP_UP_SHARE))
            text = f"the next request does not fit into what is left of {budget.tokens:,} tokens"
            rooms.append(("budget_tokens", budget.tokens - self.tokens_booked() - bound - kept, text, wait))
        if budget.usd is not None:
            kept_usd = 0.0 if wrap_up else self._kept_usd(budget.usd)
            room = self._room_of(budget.usd, bound * in_rate + kept_usd, out_rate)
            rooms.append(
                ("budget_cost", room, f"the next request does not fit into what is left of ${budget.usd:g}", wait)
            )
        if self.share is not None:
            room = self._room_of(self.share.usd, bound * in_rate, out_rate)
            rooms.append(("budget_cost", room, self.share.text, self.share.wait))
        return rooms

    def _kept_usd(self, limit: float) -> float:
        """Of a limit, for the last words."""
        wrap_in, wrap_out = self._worst_rates(WRAP_UP_INPUT_BYTES)
        need = WRAP_UP_INPUT_BYTES * wrap_in + WRAP_UP_OUTPUT_TOKENS * wrap_out
        return min(need, limit * WRAP_UP_SHARE)

    def _room_of(self, usd: float, taken: float, out_rate: float) -> int | None:
        """Tokens of output that these dollars leave, when so much more of them is taken."""
        left = usd * (1 - ROUNDING) - self.usd_booked() - taken
        if out_rate:
            return int(left / out_rate)
        return None if left >= 0 and usd > 0 else 0

    def _worst_rates(self, input_tokens: int) -> tuple[float, float]:
        """US dollars per token of input and of output."""
        in_rate, out_rate = self.rates.worst(input_tokens) if self.rates else (0.0, 0.0)
        return in_rate / 1e6, out_rate / 1e6


def above(usage: Usage, reservation: Reservation) -> bool:
    """Whether more was billed than had been reserved."""
    return usage.input_tokens > reservation.input_tokens or usage.output_tokens > reservation.output_tokens


def usage_of(data: JSON) -> Usage:
    return Usage(data["input_tokens"], data["cached_tokens"], data["output_tokens"], data["reasoning_tokens"])

"""The budget as a wall: the worst case of a request is reserved before it is sent, and settled when it was answered.

It does no I/O and reads no clock. Its state can be rebuilt from a session's events, which is what a resume does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agentrunner.types import JSON, Budget, Event, Usage

MIN_OUTPUT_TOKENS = 256
"""An answer that may be no longer than this is not worth its prompt."""
WRAP_UP_INPUT_BYTES = 6_000 + 500
"""The wrap-up's prompt, and what an endpoint's chat template adds to it."""
WRAP_UP_OUTPUT_TOKENS = 400
MESSAGE_TOKENS = 16
"""What chat templates add around one message, at most."""

Reason = Literal["budget_steps", "budget_cost", "budget_tokens", "budget_time"]


class Rates(Protocol):
    """Prices of one model."""

    def worst(self, input_tokens: int) -> tuple[float, float]:
        """US dollars per million tokens of input and of output, the highest that a prompt of this size can meet."""
        ...

    def cost(self, usage: Usage) -> float: ...


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one attempt may use at most. `prefix_bytes` is the size of the conversation that it carries."""

    input_tokens: int
    output_tokens: int
    usd: float
    prefix_bytes: int


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Nothing may be sent any more."""

    reason: Reason
    text: str


@dataclass(slots=True)
class Ledger:
    """The account of one session, over all its attempts and branches. `rates` None means that answers cost nothing."""

    budget: Budget
    rates: Rates | None = None
    guaranteed: bool = True
    steps: int = 0
    spent_usd: float = 0.0
    usage: Usage = field(default_factory=Usage)
    unsettled_tokens: int = 0
    """Reserved by attempts whose outcome will never be known."""
    _open: dict[str, Reservation] = field(default_factory=dict[str, Reservation])
    _measured: dict[str, tuple[int, int, int]] = field(default_factory=dict[str, tuple[int, int, int]])
    """By conversation: (epoch, prefix bytes, prompt tokens reported for them)."""

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
        budget = self.budget
        if not wrap_up and budget.steps is not None and self.steps >= budget.steps:
            return Exhausted(
                "budget_steps", f"the limit of {budget.steps} step{'' if budget.steps == 1 else 's'} is used up"
            )
        bound = self.input_bound(conversation, prefix_bytes) + trailing_bytes + MESSAGE_TOKENS
        in_rate, out_rate = self._worst_rates(bound)
        if budget.tokens is not None:
            room = budget.tokens - self.tokens_booked() - bound - (0 if wrap_up else self._wrap_up_tokens())
            if room < min(MIN_OUTPUT_TOKENS, cap):
                return Exhausted(
                    "budget_tokens", f"the next request does not fit into what is left of {budget.tokens:,} tokens"
                )
            cap = min(cap, room)
        if budget.usd is not None:
            left = budget.usd - self.usd_booked() - bound * in_rate - (0 if wrap_up else self._wrap_up_usd())
            room = int(left / out_rate) if out_rate else (cap if left >= 0 and budget.usd > 0 else 0)
            if room < min(MIN_OUTPUT_TOKENS, cap):
                return Exhausted("budget_cost", f"the next request does not fit into what is left of ${budget.usd:g}")
            cap = min(cap, room)
        reservation = Reservation(bound, cap, bound * in_rate + cap * out_rate, prefix_bytes)
        self._open[key] = reservation
        return reservation

    def input_bound(self, conversation: tuple[str, int], prefix_bytes: int) -> int:
        """Upper bound of the prompt's tokens: what was reported for the same prefix, plus the bytes appended since.

        A byte-level tokenizer never makes more tokens than bytes.
        """
        name, epoch = conversation
        known = self._measured.get(name)
        if known is None or known[0] != epoch or known[1] > prefix_bytes:
            return prefix_bytes
        return min(prefix_bytes, known[2] + prefix_bytes - known[1])

    def settle(self, key: str, conversation: tuple[str, int], usage: Usage | None, *, step: bool = True) -> float:
        """Close a reservation with what was used (None: all of it). Returns its cost in US dollars."""
        reservation = self._open.pop(key)
        measured = usage is not None
        if usage is None:
            usage = Usage(reservation.input_tokens, 0, reservation.output_tokens)
            cost = reservation.usd
        else:
            cost = self.rates.cost(usage) if self.rates else 0.0
        if usage.input_tokens > reservation.input_tokens or usage.output_tokens > reservation.output_tokens:
            self.guaranteed = False
        if measured:
            self._measured[conversation[0]] = (conversation[1], reservation.prefix_bytes, usage.input_tokens)
        self.spent_usd += cost
        self.usage += usage
        self.steps += step
        return cost

    def release(self, key: str) -> None:
        """Close the reservation of an attempt that was not billed."""
        self._open.pop(key, None)

    def keep(self, key: str) -> float:
        """Close the reservation of an attempt that may have been billed: it stays booked for ever."""
        reservation = self._open.pop(key)
        self.spent_usd += reservation.usd
        self.unsettled_tokens += reservation.input_tokens + reservation.output_tokens
        return reservation.usd

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
                self._open[event.key] = Reservation(
                    data["input_tokens_bound"], data["max_output_tokens"], data["reserved_usd"], data["_prefix_bytes"]
                )
            case "completion.received":
                self._open.pop(event.key, None)
                self.spent_usd += data["cost_usd"]
                self.usage += usage_of(data["usage"])
                self.steps += data["step"] is not None
                self.guaranteed = self.guaranteed and not data["_above_bound"]
            case "request.failed" if event.key in self._open:
                if data["booked_usd"] is None:
                    self.release(event.key)
                else:
                    self.keep(event.key)
            case "session.claimed":
                for key in list(self._open):
                    self.keep(key)
            case "budget.raised":
                self.raise_by(data)
            case _:
                pass

    def remember(self, conversation: tuple[str, int], prefix_bytes: int, input_tokens: int) -> None:
        """A past answer's measured prompt, so that the next bound of its conversation is as tight as it was."""
        self._measured[conversation[0]] = (conversation[1], prefix_bytes, input_tokens)

    def usd_booked(self) -> float:
        return self.spent_usd + sum(r.usd for r in self._open.values())

    def tokens_booked(self) -> int:
        reserved = sum(r.input_tokens + r.output_tokens for r in self._open.values())
        return self.usage.input_tokens + self.usage.output_tokens + self.unsettled_tokens + reserved

    def _worst_rates(self, input_tokens: int) -> tuple[float, float]:
        """US dollars per token of input and of output."""
        in_rate, out_rate = self.rates.worst(input_tokens) if self.rates else (0.0, 0.0)
        return in_rate / 1e6, out_rate / 1e6

    def _wrap_up_tokens(self) -> int:
        """Held back for the last words, unless that is more than a quarter of the whole."""
        need = WRAP_UP_INPUT_BYTES + WRAP_UP_OUTPUT_TOKENS
        return need if self.budget.tokens is None or need * 4 <= self.budget.tokens else 0

    def _wrap_up_usd(self) -> float:
        in_rate, out_rate = self._worst_rates(WRAP_UP_INPUT_BYTES)
        need = WRAP_UP_INPUT_BYTES * in_rate + WRAP_UP_OUTPUT_TOKENS * out_rate
        return need if self.budget.usd is None or need * 4 <= self.budget.usd else 0.0


def usage_of(data: JSON) -> Usage:
    return Usage(data["input_tokens"], data["cached_tokens"], data["output_tokens"], data["reasoning_tokens"])

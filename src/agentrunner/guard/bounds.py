"""How many tokens a request can be billed for at most, without a tokenizer. Knows nothing of money.

A byte-level tokenizer never makes more tokens than bytes. So the first request of a conversation is bounded by its
bytes, and a later one by what was reported for the earlier one plus the bytes that came since.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MESSAGE_TOKENS = 16
"""What chat templates add around one message, at most."""
FIXED_BYTES = 1_024
"""More than the allowances in a prompt's size that do not grow with it. Without them, tokens and bytes of a short
prompt say nothing about the ratio of a longer one."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """What an endpoint reported for a conversation: the last report, and of all the one with the highest ratio of
    tokens to bytes. The same words may be counted differently when several servers share the work."""

    epoch: int
    prefix_bytes: int
    tokens: int
    worst_bytes: int
    worst_tokens: int

    def of(self, prefix_bytes: int) -> int:
        """The most that a longer prefix can be counted as, at the last ratio or at the worst."""
        more = prefix_bytes - self.prefix_bytes
        since_worst = self.prefix_bytes - self.worst_bytes
        in_proportion = -(-self.worst_tokens * _variable(self.prefix_bytes) // _variable(self.worst_bytes))
        return max(self.tokens, min(in_proportion, self.worst_tokens + since_worst)) + more


@dataclass(slots=True)
class Bounds:
    """The bounds of one session. An endpoint that reports more than a bound widens all later ones by that much."""

    input_factor: float = 1.0
    output_factor: float = 1.0
    _measured: dict[str, _Measured] = field(default_factory=dict[str, _Measured])

    def input_tokens(self, conversation: tuple[str, int], prefix_bytes: int, trailing_bytes: int) -> int:
        """Of a request that carries this much of a conversation, given as (id, epoch), and a last message."""
        tokens = self._prefix(conversation, prefix_bytes) + trailing_bytes + MESSAGE_TOKENS
        return tokens if self.input_factor == 1.0 else int(tokens * self.input_factor) + 1

    def billed_output(self, cap: int) -> int:
        """Tokens that an answer with this cap can be billed for."""
        return cap if self.output_factor == 1.0 else int(cap * self.output_factor) + 1

    def cap_within(self, tokens: int) -> int:
        """The largest cap whose answer is billed for no more than these tokens."""
        return tokens if self.output_factor == 1.0 else max(0, int((tokens - 1) / self.output_factor))

    def measure(self, conversation: tuple[str, int], prefix_bytes: int, tokens: int) -> None:
        """Take in what was reported for a request that carried this much of its conversation."""
        name, epoch = conversation
        known = self._measured.get(name)
        worst = (prefix_bytes, tokens)
        if known is not None and known.epoch == epoch and known.prefix_bytes <= prefix_bytes:
            before = known.worst_tokens * _variable(prefix_bytes)
            worst = (known.worst_bytes, known.worst_tokens) if before > tokens * _variable(known.worst_bytes) else worst
        self._measured[name] = _Measured(epoch, prefix_bytes, tokens, *worst)

    def widen(self, input_ratio: float, output_ratio: float) -> None:
        """Something was billed above its bound, by these factors (1 or less: not)."""
        self.input_factor *= max(1.0, input_ratio)
        self.output_factor *= max(1.0, output_ratio)

    def _prefix(self, conversation: tuple[str, int], prefix_bytes: int) -> int:
        name, epoch = conversation
        known = self._measured.get(name)
        if known is None or known.epoch != epoch or known.prefix_bytes > prefix_bytes:
            return prefix_bytes
        return min(prefix_bytes, known.of(prefix_bytes))


def _variable(prefix_bytes: int) -> int:
    return max(1, prefix_bytes - FIXED_BYTES)

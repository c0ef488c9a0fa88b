"""Attacks by what is printed: more than anyone can hold, and bytes that are no text."""

from __future__ import annotations

from .harness import Attack, Ran
from .scene import Scene

KEPT_BYTES = 256 << 10
"""Of each stream, by default."""
_SAID_BYTES = 4096
"""For what the agent itself says."""

STDOUT = """
block = b'y' * 65535 + b'\\n'
for _ in range(6400):
    os.write(1, block)
"""

STDERR = """
for _ in range(6400):
    os.write(2, b'z' * 65536)
"""

NO_TEXT = r"""
for fd in (1, 2):
    os.write(fd, bytes(range(256)) * 4 + b'\x00\xff\xfe\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf\n')
    os.write(fd, '\ud800'.encode('utf-8', 'surrogatepass') + b'\xe2\x82')
print()
"""


def _kept_little(scene: Scene, ran: Ran) -> str:
    most = max(len(ran.raw), len(ran.err.encode()))
    if most > KEPT_BYTES + _SAID_BYTES:
        return f"{most} bytes were passed on"
    if "stopped" not in ran.err or "cut" not in ran.err or ran.code == 0:
        return f"nothing was said of it, exit code {ran.code}: {ran.err[-500:]}"
    return "" if ran.seconds < 20 else f"it was stopped after {ran.seconds:.0f} s"


def _bore_it(scene: Scene, ran: Ran) -> str:
    return "" if ran.code == 0 and "Traceback" not in ran.err else f"the agent ended with {ran.code}: {ran.err[-500:]}"


ATTACKS = (
    Attack("o01_stdout", STDOUT, _kept_little, slow=False, ends=False),
    Attack("o02_stderr_nonl", STDERR, _kept_little, ends=False),
    Attack("o04_invalid_utf8", NO_TEXT, _bore_it, slow=False, bites=False),
)

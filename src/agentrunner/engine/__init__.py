"""The engine: the only place where model, tools, ledger, guard and journal meet.

It drives a strategy from the journal as far as that goes, then live. Resuming is the same function with a longer past.
"""

from agentrunner.engine.purse import Purse, Unpaid
from agentrunner.engine.run import EXIT_CODES, Control, Parts
from agentrunner.engine.session import run_session

__all__ = ["EXIT_CODES", "Control", "Parts", "Purse", "Unpaid", "run_session"]

"""The loop guard: a ledger that answers before a request, and a detector that looks at what came of it."""

"""A write-ahead log whose end was never written: what was committed before is there, and writing goes on after it."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from agentrunner.journal import open_journal
from agentrunner.types import Event

FRAME_BYTES = 24 + 4096
"""A header and a page."""


def torn(folder: Path, step: int) -> None:
    """Cut the log at every `step`th byte of its last frame, and at every byte of that frame's header."""
    whole = folder / "whole"
    with contextlib.closing(open_journal(whole)) as journal:
        written: list[Event] = []
        for n in range(4):
            text = {"n": n, "text": "x" * 1500}
            written += asyncio.run(journal.append("s", len(written), [("a", "", text), ("b", "", text)]))
        database, log = (whole / "agent.db").read_bytes(), (whole / "agent.db-wal").read_bytes()
    assert (len(log) - 32) % FRAME_BYTES == 0
    last = len(log) - FRAME_BYTES
    cuts = sorted({*range(last, last + 25), *range(last, len(log), step), len(log) - 1})
    cut_home = folder / "cut"
    cut_home.mkdir(mode=0o700)
    for cut in [*cuts, len(log)]:
        for leftover in cut_home.iterdir():
            leftover.unlink()
        (cut_home / "agent.db").write_bytes(database)
        (cut_home / "agent.db-wal").write_bytes(log[:cut])
        with contextlib.closing(open_journal(cut_home)) as journal:
            found = journal.load("s")
            assert found == written[: 8 if cut == len(log) else 6], f"cut at byte {cut - last} of the last frame"
            asyncio.run(journal.append("s", len(found), [("session.claimed", "", {})]))
            assert [event.seq for event in journal.load("s")] == list(range(1, len(found) + 2))


def test_a_log_cut_within_its_last_frame_loses_the_commit_that_was_not_whole_and_no_other(tmp_path: Path) -> None:
    torn(tmp_path, 61)


@pytest.mark.slow
def test_a_log_cut_at_every_byte_of_its_last_frame_loses_no_other_commit(tmp_path: Path) -> None:
    torn(tmp_path, 1)

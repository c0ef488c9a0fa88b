"""The account of a key: what its runs have spent and reserved together, to the billionth of a dollar."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentrunner.errors import UsageError
from agentrunner.guard.ledger import Share
from agentrunner.journal import open_journal
from agentrunner.journal.database import Database
from agentrunner.server.faults import ApiError
from agentrunner.server.keys import cost_limit, create_key, limit_key, list_keys, remove_key
from agentrunner.server.spending import Spent, book, close, refuse_when_spent, settle
from agentrunner.server.storage.schema import prepare

NANO = 1e-9


class Account:
    """A key with a limit of one dollar."""

    def __init__(self, database: Database) -> None:
        prepare(database)
        self.database = database
        self.owner = database.write(lambda execute: create_key(execute, "office", 1, 1.0))[0].id

    def book(self, run: str, spent: float, more: float, unpriced: str = "") -> Share | None:
        return self.database.write(lambda execute: book(execute, self.owner, run, spent, 0.0, more, unpriced))

    def settle(self, run: str, spent: float, *, ended: bool = False, over: bool = False) -> None:
        self.database.write(lambda execute: settle(execute, self.owner, run, Spent(spent, ended, over)))

    def close(self, run: str) -> None:
        self.database.write(lambda execute: close(execute, self.owner, run))

    def limit(self, usd: float | None) -> None:
        self.database.write(lambda execute: limit_key(execute, "office", usd))

    @property
    def listed(self) -> tuple[float | None, float, float]:
        """Limit, spent, reserved."""
        (key,) = self.database.read(list_keys)
        return key.max_cost_usd, key.spent_usd, key.reserved_usd

    def takes_runs(self, least: float) -> bool:
        try:
            self.database.read(lambda execute: refuse_when_spent(execute, self.owner, least))
        except ApiError as error:
            return (error.status, error.code, error.retry) != (429, "insufficient_quota", False)
        return True


@pytest.fixture(params=["sqlite", "postgres"])
def account(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Account]:
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres").new_schema()
    with contextlib.closing(open_journal(tmp_path, url)) as journal:
        yield Account(journal.database)


def test_what_fits_to_the_billionth_is_booked_and_one_more_is_not(account: Account) -> None:
    assert account.book("run_1", 0.25, 0.75) is None
    assert account.listed == (1.0, 0.25, 0.75)
    refused = account.book("run_2", 0.0, NANO)
    assert refused is not None
    assert (refused.usd, refused.wait, "$1 of this key" in refused.text) == (0.0, True, True)

    assert account.book("run_1", 0.25, 0.75 - NANO) is None
    assert account.book("run_2", 0.0, NANO) is None
    assert account.book("run_2", 0.0, 2 * NANO) is not None
    assert account.listed == (1.0, 0.25, 0.75 - NANO)


def test_what_is_left_is_said_and_fits(account: Account) -> None:
    assert account.book("run_1", 0.9, 0.0) is None
    left = account.book("run_2", 0.0, 0.2)
    assert left is not None
    assert (left.wait, 0.0999 < left.usd <= 0.1) == (False, True)
    assert account.book("run_2", 0.0, left.usd) is None


def test_a_request_that_is_refused_leaves_nothing_reserved_of_the_one_before(account: Account) -> None:
    assert account.book("run_1", 0.0, 0.6) is None
    assert account.book("run_2", 0.0, 0.4) is None
    assert account.book("run_1", 0.1, 0.6) is not None  # 0.4 of the other run is in the way
    assert account.listed == (1.0, 0.1, 0.4)
    assert account.book("run_2", 0.1, 0.6) is None


def test_an_answer_settles_its_own_request_and_not_the_next_one(account: Account) -> None:
    account.book("run_1", 0.0, 0.5)
    account.settle("run_1", 0.2)
    assert account.listed == (1.0, 0.2, 0.0)
    account.book("run_1", 0.3, 0.5)
    account.settle("run_1", 0.3)  # is stored late: the next request is on its way
    assert account.listed == (1.0, 0.3, 0.5)
    account.settle("run_1", 0.3, ended=True)
    assert account.listed == (1.0, 0.3, 0.0)


def test_what_a_run_spent_stays_spent_when_it_is_over(account: Account) -> None:
    account.book("run_1", 0.2, 0.5)
    account.settle("run_1", 0.4, ended=True, over=True)
    account.settle("run_1", 0.4, ended=True, over=True)
    account.book("run_2", 0.1, 0.2)
    account.close("run_2")  # nobody will know what became of its request
    assert account.listed == (1.0, pytest.approx(0.7, abs=1e-12), 0.0)


def test_limits_are_changed_and_lifted(account: Account) -> None:
    account.book("run_1", 0.8, 0.0)
    assert account.takes_runs(0.2)
    assert not account.takes_runs(0.2 + NANO)
    account.limit(0.5)
    assert not account.takes_runs(0.0)
    assert account.book("run_1", 0.8, 0.0) is not None
    account.limit(None)
    assert account.takes_runs(5.0)
    assert account.book("run_1", 0.8, 9.0) is None
    account.limit(0.0)
    assert not account.takes_runs(0.0)
    assert account.book("run_9", 0.0, 0.0) is not None


def test_the_key_that_was_removed_spends_nothing(account: Account) -> None:
    account.database.write(lambda execute: remove_key(execute, "office"))
    refused = account.book("run_1", 0.0, 0.1)
    assert refused is not None
    assert (refused.usd, refused.wait) == (0.0, False)


def test_a_limit_cannot_be_held_where_the_price_is_not_known(account: Account) -> None:
    with pytest.raises(UsageError, match="the price of 'm' is not known"):
        account.book("run_1", 0.0, 0.0, unpriced="m")
    account.limit(None)
    assert account.book("run_1", 0.0, 0.0, unpriced="m") is None


def test_limits_are_dollars_or_none() -> None:
    assert [cost_limit(text) for text in ("5.00", "$5", "0", "none", " None ")] == [5.0, 5.0, 0.0, None, None]
    for wrong in ("", "-1", "nan", "inf", "5 dollars", "1e10"):
        with pytest.raises(UsageError, match="--max-cost"):
            cost_limit(wrong)

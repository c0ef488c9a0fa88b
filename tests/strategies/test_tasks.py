"""The list of tasks: ids, order, dependencies, duplicates, failures."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrunner.strategies.tasks import MAX_TRIES, Tasks, likeness

JSON = dict[str, Any]


def wanted(*tasks: str | tuple[str, list[str]]) -> list[JSON]:
    pairs = [(task, []) if isinstance(task, str) else task for task in tasks]
    return [{"title": title, "depends_on": depends} for title, depends in pairs]


def listed(*tasks: str | tuple[str, list[str]]) -> Tasks:
    found = Tasks()
    found.add(wanted(*tasks))
    return found


def ids(tasks: list[Any]) -> list[str]:
    return [task.id for task in tasks]


def finish(tasks: Tasks, id_: str, result: str = "result") -> None:
    task = next(task for task in tasks if task.id == id_)
    tasks.begin(task)
    tasks.finish(task, f"{result} of {id_}", [])


def test_ids_count_on_whatever_the_order_becomes() -> None:
    tasks = listed("eat apples", "cook beans")
    tasks.order(["t2", "t1"])
    tasks.add(wanted("mill corn"))
    finish(tasks, "t2")
    tasks.add(wanted("dig ditches"))
    assert ids(tasks.open()) == ["t1", "t3", "t4"]
    assert len({task.id for task in tasks}) == 4


def test_results_stay_with_their_tasks() -> None:
    tasks = listed("eat apples", "cook beans", "mill corn")
    for id_ in ("t2", "t1"):
        finish(tasks, id_)
        tasks.order(["t3", "t1"])
    assert [task.result for task in tasks.done()] == ["result of t1", "result of t2"]


@given(st.lists(st.sampled_from(["t1", "t2", "t3", "t4", "t9", "", "T1", "4"])))
def test_no_order_loses_or_makes_or_repeats_a_task(order: list[str]) -> None:
    tasks = listed("eat apples", "cook beans", "mill corn", "dig ditches")
    tasks.order(order)
    found = ids(tasks.open())
    assert sorted(found) == ["t1", "t2", "t3", "t4"]
    known = [id_ for id_ in dict.fromkeys(order) if id_ in found]
    assert found[: len(known)] == known


@pytest.mark.parametrize(
    "title",
    ["Fetch https://x.io/a-b.html v2.5", "Read /etc/hosts; then ./a_b-c.d (v1.0.3)", "Übersetze „Größe“: 日本語"],
)
def test_a_title_is_kept_to_the_letter(title: str) -> None:
    assert listed(title).open()[0].title == title


def test_a_task_waits_for_what_it_depends_on() -> None:
    tasks = listed("eat apples", ("cook beans", ["#1"]), ("mill corn", ["t1", "#2", "t77", "#9"]))
    assert ids(tasks.ready(4)) == ["t1"]
    finish(tasks, "t1")
    assert ids(tasks.ready(4)) == ["t2"]
    finish(tasks, "t2")
    assert ids(tasks.ready(4)) == ["t3"]


def test_two_tasks_never_wait_for_each_other() -> None:
    tasks = listed(("eat apples", ["#2"]), ("cook beans", ["#1"]), ("mill corn", ["#3"]))
    assert ids(tasks.ready(4)) == ["t1", "t3"]


def test_no_more_are_ready_than_asked_for_and_the_first_come_first() -> None:
    tasks = listed("eat apples", "cook beans", "mill corn")
    tasks.order(["t3"])
    assert ids(tasks.ready(2)) == ["t3", "t1"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Read the harbour report", "read  the harbour REPORT."),
        ("Read the harbour report", "Please read the harbour reports"),
        ("Fetch https://x.io/a.html", "Fetch https://x.io/a.html!"),
    ],
)
def test_the_same_in_other_words_is_merged(one: str, other: str) -> None:
    tasks = listed(one)
    assert tasks.add(wanted(other)) == []
    assert [task.title for task in tasks] == [one]
    assert next(iter(tasks)).merged == (" ".join(other.split()),)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Fetch https://x.io/a-b.html v2.5", "Fetch https://x.io/a-b.html v2.6"),
        ("Write chapter 1 of the long book on salt and ships", "Write chapter 2 of the long book on salt and ships"),
        ("Say what is known of solar prices in northern Spain", "Say what is known of solar prices in southern Spain"),
        ("Read a/b.txt", "Read a/c.txt"),
        ("Eat", "Cook"),
    ],
)  # fmt: skip
def test_what_names_something_else_is_another_task(one: str, other: str) -> None:
    assert ids(listed(one, other).open()) == ["t1", "t2"]


def test_a_duplicate_can_be_depended_on() -> None:
    tasks = listed("eat apples")
    tasks.add(wanted("Eat the apples", ("cook beans", ["#1"])))
    assert [task.depends_on for task in tasks.open()] == [(), ("t1",)]


def test_a_task_that_was_done_or_set_aside_is_not_added_again() -> None:
    tasks = listed("eat apples", "cook beans")
    finish(tasks, "t1")
    for _ in range(MAX_TRIES):
        tasks.begin(tasks.open()[0])
        tasks.fail(tasks.open()[0], "no")
    assert tasks.add(wanted("eat apples", "cook beans")) == []
    assert tasks.open() == []


@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=4))
def test_likeness_is_a_share_and_highest_for_the_same(title: str, others: list[str]) -> None:
    scores = likeness(title, [*others, title])
    assert all(0 <= score <= 1 + 1e-9 for score in scores)


def test_a_task_that_failed_twice_is_set_aside_with_its_reason_and_what_needs_it() -> None:
    tasks = listed("eat apples", ("cook beans", ["#1"]), ("mill corn", ["#2"]), "dig ditches")
    first = tasks.open()[0]
    tasks.begin(first)
    tasks.fail(first, "no apples")
    assert (first.status, first.reason, first.name) == ("open", "no apples", "t1")
    tasks.begin(first)
    assert first.name == "t1-2"
    tasks.fail(first, "still none")
    assert [(task.id, task.reason) for task in tasks.set_aside()] == [
        ("t1", "still none"),
        ("t2", "it needs t1, which was set aside"),
        ("t3", "it needs t2, which was set aside"),
    ]
    assert ids(tasks.ready(4)) == ["t4"]
    tasks.add(wanted(("eat pears", ["t1"])))
    assert ids(tasks.ready(4)) == ["t4", "t5"]


def test_changes_are_the_rows_that_are_other_than_at_the_last_time() -> None:
    tasks = listed("eat apples", "cook beans", "mill corn")
    assert [(row["id"], row["priority"]) for row in tasks.changes()] == [("t1", 1), ("t2", 2), ("t3", 3)]
    assert tasks.changes() == []
    tasks.order(["t1", "t3"])
    assert [(row["id"], row["priority"]) for row in tasks.changes()] == [("t2", 3), ("t3", 2)]
    finish(tasks, "t1")
    rows = {row["id"]: row for row in tasks.changes()}
    assert (rows["t1"]["status"], rows["t1"]["priority"], rows["t1"]["branch"]) == ("done", 0, "/t1")
    assert rows["t3"]["priority"] == 1

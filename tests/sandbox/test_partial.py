"""What the level without a mount namespace refuses of its own accord, and what honest programs can still do there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Box


@pytest.fixture
def partial(open_box: Callable[..., Box]) -> Box:
    return open_box(("partial", "auto"))


PRIORITIES = """
import os
# A group and a user that nobody has: where it is not refused, the kernel says that there is none.
for which in (os.PRIO_PGRP, os.PRIO_USER):
    for who in (0, (1 << 31) - 5):
        try:
            os.setpriority(which, who, os.getpriority(os.PRIO_PROCESS, 0))
        except OSError as refused:
            print(refused.errno)
os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + 1)
print('its own')
"""


def test_priorities_of_whole_groups_and_users_stay_as_they_are(partial: Box) -> None:
    assert partial.python(PRIORITIES).stdout == "1\n1\n1\n1\nits own\n"

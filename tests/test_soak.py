"""Two seconds of tests/soak.py, and its books, which must not balance when something is missing."""

import asyncio

import pytest
from soak import Fault, Soak, Visitor, text_result


def test_clients_that_crash_and_come_back_see_every_token_once():
    """[id.by-exchange] [resume.replay] [stream.no-broadcast] [modern.disconnect-cancels] [session.expiry]

    `python tests/soak.py --clients 50 --seconds 600` for more. No second is counted: each client ends what it began.
    """
    soak = Soak(seed=1)
    asyncio.run(asyncio.wait_for(soak.run(clients=20, seconds=2), 90))
    assert len(soak.home) >= 20 and soak.cancelled and soak.deeds["broken"] >= 20


@pytest.mark.parametrize("home, ran, stopped, cancelled", [
    (2, 1, 0, False), (1, 2, 0, False), (1, 0, 0, False), (1, 0, 1, False), (0, 2, 0, False), (0, 1, 1, False),
    (0, 1, 0, True), (0, 0, 0, True), (1, 1, 0, True), (0, 0, 2, True),
])  # fmt: skip
def test_books_do_not_balance_when_a_call_is_lost_or_doubled(home, ran, stopped, cancelled):
    soak = Soak(seed=1)
    soak.home["tok1x1y"], soak.ran["tok1x1y"], soak.stopped["tok1x1y"] = home, ran, stopped
    soak.cancelled = {"tok1x1y"} if cancelled else set()
    with pytest.raises(Fault):
        soak.check_books()


@pytest.mark.parametrize("steps", [[], range(1, 6), [1, 2, 4, 3, 5, 6], [1, 2, 2, 3, 4, 5, 6], range(1, 8)])
def test_visitor_notices_a_gap_and_a_step_that_comes_twice(steps):
    visitor = Visitor(Soak(seed=1), 1)
    notices = [
        {"jsonrpc": "2.0", "method": "notifications/progress",
         "params": {"progressToken": 1, "progress": step, "total": 6, "message": "tok1x1y"}} for step in steps
    ]  # fmt: skip
    with pytest.raises(Fault):
        visitor.came_home("tok1x1y", [*notices, text_result(1, "tok1x1y")], 1)
    with pytest.raises(Fault):
        visitor.mine([text_result(1, "tok2x1y")])

"""The engine: merging, retrying, settling, giving way."""

import asyncio
import logging
import time

import pytest
from controller_world import eventually

from k8slab.embedded.controllers import loop as loop_module
from k8slab.embedded.controllers.loop import LONG, SLICE, Loop, start_slowly, take_turns
from k8slab.errors import ApiStatusError, ReviewPendingError


def test_a_key_added_many_times_is_worked_on_once():
    async def main():
        seen = []
        loop = Loop("test", seen.append)
        for _ in range(10):
            loop.add("a")
        await loop.idle()
        assert seen == ["a"]

    asyncio.run(main())


def test_a_key_that_changes_during_its_run_is_worked_on_again():
    async def main():
        seen = []

        async def reconcile(key):
            seen.append(key)
            if len(seen) == 1:
                loop.add(key)
                await asyncio.sleep(0)

        loop = Loop("test", reconcile)
        loop.add("a")
        await loop.idle()
        assert seen == ["a", "a"]

    asyncio.run(main())


def test_a_key_added_while_the_last_worker_leaves_is_not_lost():
    async def main():
        seen = []
        loop = Loop("test", seen.append)
        for number in range(100):
            loop.add(str(number))
            await asyncio.sleep(0)
        await loop.idle()
        assert seen == [str(number) for number in range(100)]

    asyncio.run(main())


def test_a_failing_key_is_logged_by_name_retried_and_holds_up_no_other(caplog):
    async def main():
        seen = []

        def reconcile(key):
            seen.append(key)
            if seen.count("bad") < 3 and key == "bad":
                raise ValueError("no luck")

        loop = Loop("test", reconcile)
        loop.add("bad")
        loop.add("good")
        await loop.idle()
        assert seen == ["bad", "good"]
        await eventually(lambda: seen.count("bad") == 3)

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert "test: bad failed" in caplog.text
    assert "no luck" in caplog.text
    assert "good failed" not in caplog.text


def test_a_key_that_fails_all_night_is_still_retried(monkeypatch):
    monkeypatch.setattr(loop_module, "LONGEST_DELAY", 0.0)

    async def main():
        seen = []

        def reconcile(key):
            seen.append(key)
            if len(seen) < 1100:  # 2.0**1024 is no float any more
                raise ApiStatusError("changed", code=409, reason="Conflict")

        loop = Loop("test", reconcile)
        loop.add("bad")
        await eventually(lambda: len(seen) == 1100)

    asyncio.run(main())


def test_a_conflict_is_retried_without_a_word(caplog):
    async def main():
        seen = []

        def reconcile(key):
            seen.append(key)
            if len(seen) == 1:
                raise ApiStatusError("changed", code=409, reason="Conflict")

        loop = Loop("test", reconcile)
        loop.add("a")
        await eventually(lambda: len(seen) == 2)

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert caplog.text == ""


def test_settle_waits_for_a_run_that_began_afterwards():
    async def main():
        gate = asyncio.Event()
        state = {"value": 0, "applied": 0}

        async def reconcile(_):
            value = state["value"]
            await gate.wait()
            state["applied"] = value

        loop = Loop("test", reconcile)
        loop.add("a")
        await asyncio.sleep(0)
        state["value"] = 1  # the run that is under way does not see it
        settled = asyncio.ensure_future(loop.settle("a"))
        await asyncio.sleep(0)
        gate.set()
        await settled
        assert state["applied"] == 1

    asyncio.run(main())


def test_settle_raises_what_the_run_raised():
    async def main():
        def reconcile(_):
            raise ValueError("not enforced")

        loop = Loop("test", reconcile)
        with pytest.raises(ValueError, match="not enforced"):
            await loop.settle("a")
        await loop.close()

    asyncio.run(main())


def test_a_key_comes_back_after_the_seconds_that_it_asks_for():
    async def main():
        seen = []

        def reconcile(_):
            seen.append(time.monotonic())
            return 0.02 if len(seen) < 3 else None

        loop = Loop("test", reconcile)
        loop.add("a")
        await eventually(lambda: len(seen) == 3)
        assert seen[2] - seen[0] >= 0.035

    asyncio.run(main())


def test_the_earlier_of_two_wishes_to_be_called_counts():
    async def main():
        seen = []
        loop = Loop("test", seen.append)
        loop.add_after("a", 30)
        loop.add_after("a", 0.001)
        loop.add_after("a", 30)
        await eventually(lambda: seen)
        await loop.close()

    asyncio.run(main())


def test_a_burst_of_keys_gives_way_to_others():
    async def main():
        turns = []

        def reconcile(_):
            end = time.perf_counter() + SLICE
            while time.perf_counter() < end:
                pass

        loop = Loop("test", reconcile)
        for number in range(5):
            loop.add(str(number))

        async def other():
            while loop._queue:
                turns.append(len(loop._queue))
                await asyncio.sleep(0)

        await other()
        assert len(turns) >= 5
        await loop.close()

    asyncio.run(main())


def test_several_workers_take_several_keys_at_a_time_but_never_one_key_twice():
    async def main():
        now, most = set(), 0

        async def reconcile(key):
            nonlocal most
            assert key not in now
            now.add(key)
            most = max(most, len(now))
            loop.add("a") if most < 2 else None
            await asyncio.sleep(0.001)
            now.discard(key)

        loop = Loop("test", reconcile, workers=3)
        for key in ("a", "b", "c", "d"):
            loop.add(key)
        await loop.idle()
        assert most == 3

    asyncio.run(main())


def test_closing_cancels_what_runs_and_who_waits():
    async def main():
        async def reconcile(_):
            await asyncio.Event().wait()

        loop = Loop("test", reconcile)
        settled = asyncio.ensure_future(loop.settle("a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await loop.close()
        with pytest.raises(asyncio.CancelledError):
            await settled

    asyncio.run(main())


def test_a_key_that_takes_long_rests_and_is_then_worked_on_once_for_all_its_changes(monkeypatch):
    rest = 0.5  # seconds: a busy machine must not take the changes below for two bursts
    monkeypatch.setattr("k8slab.embedded.controllers.loop.RESTS", rest / LONG)
    monkeypatch.setattr("k8slab.embedded.controllers.loop.LONGEST_REST", rest)

    async def main():
        runs = []

        def reconcile(key):
            runs.append(time.perf_counter())
            time.sleep(LONG * 3)

        loop = Loop("test", reconcile)
        loop.add("a")
        await eventually(lambda: len(runs) == 1)
        for _ in range(20):
            loop.add("a")
            await asyncio.sleep(0)
        await eventually(lambda: len(runs) == 2)
        assert runs[1] - runs[0] >= rest
        await loop.close()
        await asyncio.sleep(rest * 1.2)
        assert len(runs) == 2

    asyncio.run(main())


def test_who_waits_for_a_resting_key_does_not_wait_for_its_rest(monkeypatch):
    monkeypatch.setattr("k8slab.embedded.controllers.loop.RESTS", 3600 / LONG)
    monkeypatch.setattr("k8slab.embedded.controllers.loop.LONGEST_REST", 3600.0)

    async def main():
        loop = Loop("test", lambda _: time.sleep(LONG * 3))
        async with asyncio.timeout(60):  # seconds, while each rest is an hour
            for _ in range(10):
                await loop.settle("a")
                loop.add("a")
        await loop.close()

    asyncio.run(main())


def test_many_keys_are_worked_on_in_turns_with_others():
    async def main():
        pending, turns = {str(number) for number in range(5)}, []

        async def other():
            while pending:
                turns.append(len(pending))
                await asyncio.sleep(0)

        others = asyncio.create_task(other())
        await take_turns(pending, lambda _: time.sleep(SLICE * 1.1))
        await others
        assert turns == [4, 3, 2, 1]

    asyncio.run(main())


def test_a_key_whose_work_fails_stays_and_one_that_comes_meanwhile_is_worked_on():
    async def main():
        pending, done = {"a"}, []

        def work(key):
            if key == "a":
                pending.add("b")
            if key == "b" and "b" not in done:
                done.append(key)
                raise ValueError(key)
            done.append(key)

        with pytest.raises(ValueError, match="b"):
            await take_turns(pending, work)
        assert pending == {"b"}
        await take_turns(pending, work)
        assert pending == set()
        assert done == ["a", "b", "b"]

    asyncio.run(main())


def test_work_that_waits_for_webhooks_is_done_again_and_holds_up_nobody():
    async def main():
        go_on = asyncio.Event()
        done = []

        def reconcile(key):
            if key == "reviewed" and not go_on.is_set():
                raise ReviewPendingError(None, go_on.wait)
            done.append(key)

        loop = Loop("test", reconcile)
        loop.add("reviewed")
        loop.add("other")
        await loop.idle()
        assert done == ["other"]
        loop.add("reviewed")  # which would only ask the same again
        await loop.idle()
        assert done == ["other"]
        go_on.set()
        await eventually(lambda: done == ["other", "reviewed"])
        await loop.close()

    asyncio.run(main())


def test_what_waits_for_webhooks_ends_with_the_loop():
    async def main():
        def reconcile(_key):
            raise ReviewPendingError(None, asyncio.Event().wait)

        loop = Loop("test", reconcile)
        loop.add("a")
        await loop.idle()
        await loop.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("refused", "tried"), [({1}, 1), ({2}, 3), ({3}, 3), ({4, 6}, 7), ({9}, 10), (set(), 10)]
)
def test_what_starts_slowly_is_tried_in_batches_that_double_until_one_is_refused(refused, tried):
    seen = []

    def work(item):
        seen.append(item)
        if item in refused:
            raise ApiStatusError(f"no {item}", code=403, reason="Forbidden")

    error = asyncio.run(start_slowly(range(1, 11), work))
    assert seen == [*range(1, tried + 1)]
    assert (error and error.message) == (f"no {min(refused)}" if refused else None)

"""The order of kernel writes, and what happens to those that nobody waits for."""

import asyncio
import logging
import threading

import pytest

from k8slab.embedded.network.queue import KernelQueue
from k8slab.errors import KernelError


def run(scenario):
    async def wrapped():
        queue = KernelQueue()
        try:
            await scenario(queue)
        finally:
            await queue.close()

    asyncio.run(wrapped())


def test_functions_run_one_after_the_other_in_the_order_of_asking():
    async def scenario(queue):
        seen = []
        await asyncio.gather(*(queue.run(seen.append, number) for number in range(50)))
        assert seen == list(range(50))
        threads = await asyncio.gather(*(queue.run(threading.get_ident) for _ in range(5)))
        assert len(set(threads)) == 1
        assert threads[0] != threading.get_ident()

    run(scenario)


def test_what_a_function_raises_reaches_whoever_asked():
    async def scenario(queue):
        def refuse():
            raise KernelError("no")

        with pytest.raises(KernelError, match="no"):
            await queue.run(refuse)

    run(scenario)


def test_who_is_cancelled_while_waiting_does_not_undo_the_work():
    async def scenario(queue):
        gate, done = threading.Event(), threading.Event()
        blocking = asyncio.create_task(queue.run(gate.wait))
        cancelled = asyncio.create_task(queue.run(done.set))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        gate.set()
        await blocking
        await queue.run(lambda: None)
        assert done.is_set()

    run(scenario)


def test_a_deletion_that_has_not_begun_is_left_out_on_closing_but_finished():
    begun, finished, under_way, gate = [], [], threading.Event(), threading.Event()

    def first():
        under_way.set()
        gate.wait(30)

    def second():
        finished.append("second")
        gate.set()  # only now may the first one end

    async def scenario(queue):
        queue.later(first, finish=lambda: finished.append("first"))
        queue.later(lambda: begun.append("second"), finish=second)
        await queue.run(under_way.wait, 30)

    run(scenario)
    assert begun == []
    assert finished == ["second", "first"]


def test_a_deletion_that_fails_is_logged(caplog):
    async def scenario(queue):
        done = threading.Event()

        def refuse():
            raise KernelError("busy")

        queue.later(refuse, finish=done.set)
        await queue.run(done.wait, 30)

    with caplog.at_level(logging.ERROR):
        run(scenario)
    assert "a deletion in the background failed: busy" in caplog.text


def test_what_has_nothing_in_common_may_be_done_side_by_side_and_comes_back_in_order():
    async def scenario(queue):
        both = threading.Barrier(2, timeout=30)

        def meet(number):
            both.wait()  # passes only when the other one is under way too
            return number

        assert await queue.run(lambda: list(queue.each(meet, [1, 2]))) == [1, 2]
        here = await queue.run(threading.get_ident)
        assert await queue.run(lambda: [*queue.each(lambda _: threading.get_ident(), [1])]) == [
            here
        ]

    run(scenario)

"""What a signal means to a command that cleans up."""

import os
import signal
import threading

import pytest

from k8slab.cli.signals import ended_by_signals, no_interrupt_lost


@pytest.fixture
def before():
    """Give signals back as they were."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_as_ctrl_c_does(before, number):
    signal.signal(number, signal.SIG_DFL)
    with pytest.raises(KeyboardInterrupt), ended_by_signals():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is signal.SIG_DFL


def test_what_was_begun_with_nohup_outlives_its_terminal(before):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with ended_by_signals():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


class Interrupted:
    """Gets Ctrl-C while it is finalized."""

    def __del__(self):
        raise KeyboardInterrupt


def interrupted_while_finalizing():
    Interrupted()
    threading.Event().wait(10)
    pytest.fail("the interrupt was lost")


def test_ctrl_c_counts_though_something_is_being_finalized(before):
    with pytest.raises(KeyboardInterrupt), no_interrupt_lost():
        interrupted_while_finalizing()


def test_ctrl_c_that_is_ignored_is_not_what_is_sent_again(before):
    asked = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), ended_by_signals(), no_interrupt_lost():
            interrupted_while_finalizing()
    finally:
        signal.signal(signal.SIGINT, asked)


def test_ctrl_c_that_comes_when_all_is_done_is_too_late(before):
    with no_interrupt_lost():
        Interrupted()
    for timer in threading.enumerate():
        if isinstance(timer, threading.Timer):
            timer.join(10)

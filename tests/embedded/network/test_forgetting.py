"""Which addresses wait until their connections are forgotten."""

from types import SimpleNamespace

import pytest

from k8slab.embedded.network import forgetting
from k8slab.errors import KernelError

NODE = SimpleNamespace(name="worker", netns=-1)


def pod(*addresses):
    return SimpleNamespace(addresses=addresses)


class Queue:
    """Keeps what is asked for later, until it is told to do it."""

    def __init__(self):
        self.asked = []

    def later(self, function, finish):
        self.asked.append((function, finish))

    def do_all(self):
        while self.asked:
            function, finish = self.asked.pop(0)
            try:
                function()
            finally:
                finish()


@pytest.fixture
def kernel(monkeypatch):
    """Return what was forgotten, and a switch that makes the kernel refuse."""
    found = SimpleNamespace(forgotten=[], refuses=False, opens=True)

    class Cleaner:
        def __init__(self, netns):
            assert netns == NODE.netns
            if not found.opens:
                raise KernelError("open a netlink socket: too many open files")

        def close(self):
            pass

        def forget(self, addresses):
            if found.refuses:
                raise KernelError("list connections: no buffer space")
            found.forgotten.append(sorted(addresses))

    monkeypatch.setattr(forgetting, "Cleaner", Cleaner)
    return found


def test_pods_that_go_one_after_the_other_are_forgotten_at_once(kernel):
    queue = Queue()
    all_of_them = forgetting.Forgetting(queue)
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):
        all_of_them.gone(NODE, pod(address))
    queue.do_all()
    assert kernel.forgotten == [["10.0.0.1", "10.0.0.2"]]
    all_of_them.before_reuse(NODE, ["10.0.0.1"])
    all_of_them.gone(NODE, pod("10.0.0.3"))
    queue.do_all()
    assert kernel.forgotten[1:] == [["10.0.0.3"]]


def test_an_address_is_given_away_only_after_its_connections_are_forgotten(kernel):
    all_of_them = forgetting.Forgetting(Queue())
    all_of_them.gone(NODE, pod("10.0.0.1"))
    all_of_them.before_reuse(NODE, ["10.0.0.2"])
    assert kernel.forgotten == []
    all_of_them.before_reuse(NODE, ["10.0.0.1"])
    assert kernel.forgotten == [["10.0.0.1"]]


def test_an_address_whose_connections_could_not_be_forgotten_still_waits_for_that(kernel):
    queue = Queue()
    all_of_them = forgetting.Forgetting(queue)
    all_of_them.gone(NODE, pod("10.0.0.1"))
    kernel.refuses = True
    with pytest.raises(KernelError):
        queue.do_all()
    with pytest.raises(KernelError):
        all_of_them.before_reuse(NODE, ["10.0.0.1"])
    kernel.refuses = False
    all_of_them.gone(NODE, pod("10.0.0.2"))
    queue.do_all()
    assert kernel.forgotten == [["10.0.0.1", "10.0.0.2"]]


def test_a_node_of_which_the_kernel_could_not_be_asked_once_is_looked_after_later(kernel):
    queue = Queue()
    all_of_them = forgetting.Forgetting(queue)
    kernel.opens = False
    with pytest.raises(KernelError):
        all_of_them.gone(NODE, pod("10.0.0.1"))
    kernel.opens = True
    all_of_them.gone(NODE, pod("10.0.0.2"))
    queue.do_all()
    assert kernel.forgotten == [["10.0.0.1", "10.0.0.2"]]

"""libnftables: text in, error text out, in the namespace asked for."""

import os
import resource
from contextlib import closing

import pytest

from k8slab.embedded import linux
from k8slab.embedded.network.nft import Nft
from k8slab.errors import KernelError


@pytest.mark.kernel
def test_rules_are_written_to_the_namespace_of_the_context_and_to_no_other():
    other = linux.new_netns()
    with closing(Nft(other)) as there, closing(Nft(linux.open_netns())) as here:
        there.run("add table ip t")
        assert there.run("list tables") == "table ip t\n"
        assert here.run("list tables") == ""


@pytest.mark.kernel
def test_a_transaction_is_refused_as_a_whole_with_nfts_own_words():
    with closing(Nft(linux.open_netns())) as nft:
        with pytest.raises(KernelError, match=r"nft refused: .*No such file or directory"):
            nft.run("add table ip t\nadd rule ip t nowhere accept\n")
        assert nft.run("list tables") == ""
        with pytest.raises(KernelError, match="syntax error"):
            nft.run("add tabel ip t")
        nft.run("add table ip t")


@pytest.mark.kernel
def test_a_long_transaction_is_shown_shortened():
    with closing(Nft(linux.open_netns())) as nft:
        with pytest.raises(KernelError) as caught:
            nft.run("delete table ip nothing\n" + "add table ip t\n" * 1000)
        assert len(str(caught.value)) < 1000


@pytest.mark.kernel
def test_with_too_many_open_files_a_context_is_refused_since_the_library_would_end_the_process():
    resource.setrlimit(resource.RLIMIT_NOFILE, (1100, 1100))
    with closing(Nft(linux.open_netns())) as early:
        while os.open("/dev/null", os.O_RDONLY) < 1024:
            pass
        with pytest.raises(KernelError, match="more than 1024 open files"):
            Nft(early._netns)
        assert early.run("list tables") == ""  # one that was there before works on

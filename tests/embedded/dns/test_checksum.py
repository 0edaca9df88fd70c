"""The checksums that CoreDNS logs, for Corefiles of which they are known."""

import pytest

from k8slab.embedded.dns.checksum import checksum
from k8slab.embedded.dns.corefile import DEFAULT, CorefileError, words

LATE = (
    "1b226df79860026c6a52e67daa10d7f0d57ec5b023288ec00c5e05f93523c894"
    "564e15b91770d3a07ae1cfbe861d15b37d4a0027e69c546ab112970993a3b03b"
)
"""What CoreDNS 1.14 logs for the Corefile that kubeadm gives it now."""

EARLY = (
    "591cf328cccc12bc490481273e738df59329c62c0b729d94e8b61db9961c2fa5"
    "f046dd37f1cf888b953814040d180f52594972691cd6ff41be96639138a43908"
)
"""What CoreDNS 1.9 to 1.11 log for kubeadm's Corefile of their time: `cache 30` alone."""

SHORT_CACHE = DEFAULT.replace(
    "cache 30 {\n       disable success cluster.local\n       disable denial cluster.local\n    }",
    "cache 30",
)


def test_the_checksum_is_the_one_that_coredns_logs():
    assert checksum(DEFAULT) == LATE
    assert checksum(SHORT_CACHE) == EARLY


def test_spaces_and_comments_within_a_line_do_not_count_but_line_numbers_do():
    assert checksum(SHORT_CACHE.replace("    errors\n", "\terrors   # all of them\r\n")) == EARLY
    assert checksum("\n" + SHORT_CACHE) != EARLY
    assert checksum("# kubeadm\n" + SHORT_CACHE) != EARLY


def test_a_changed_word_changes_it():
    assert checksum(DEFAULT.replace("ttl 30", "ttl 5")) != LATE
    assert checksum("") != LATE


@pytest.mark.parametrize("more", ["import /etc/custom/*.server", "forward . {$DNS}"])
def test_what_stands_elsewhere_has_none(more):
    assert checksum(f".:53 {{\n    {more}\n}}\n") == ""


@pytest.mark.parametrize(
    "text", [".:53 {\n errors\n", ". {\n cache {\n}\n", "}\n", ". {\n errors }\n}\n", "errors\n"]
)
def test_braces_that_do_not_match_are_refused_with_their_line(text):
    with pytest.raises(CorefileError, match=r"Corefile:\d+ - Error during parsing"):
        checksum(text, file="Corefile")


def test_words_are_those_of_caddys_lexer():
    text = '. { # all\n log . "a \\"b\\" \\c" d#e\n x{\n""'
    assert [tuple(word) for word in words(text)] == [
        (1, "."), (1, "{"), (2, "log"), (2, "."), (2, 'a "b" \\c'), (2, "d"), (3, "x"), (4, ""),
    ]  # fmt: skip

"""How the stand-in for tcpdump reads its command line."""

from k8slab.embedded.runtime.capture import Arguments


def test_options_of_capturing_are_taken_out_of_any_cluster():
    found = Arguments(["-nni", "eth0", "-c3", "-pl", "tcp", "port", "80"])
    assert found.interface == "eth0"
    assert found.limit == 3
    assert found.passed == ["-n", "-n", "-c", "3", "-l"]
    assert found.expression == ["tcp", "port", "80"]


def test_long_and_attached_forms_are_understood():
    assert Arguments(["--interface=any"]).interface == "any"
    assert Arguments(["--interface", "lo"]).interface == "lo"
    assert Arguments(["-ilo", "-Qin", "-B4096", "-s", "0"]).passed == ["-s", "0"]
    assert Arguments(["-Qin"]).direction == "in"


def test_what_captures_nothing_is_recognised():
    assert "r" in Arguments(["-nr", "file"]).letters
    assert "h" in Arguments(["--version"]).letters
    assert Arguments(["-w", "-"]).passed == ["-w", "-"]

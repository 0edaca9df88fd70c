"""The words that ``benchmarks/run.py`` takes; what is measured here is a number that is given."""

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def module(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def bench():
    """Give the runner, with two benchmarks that take no time beside the real ones."""
    before, path = set(sys.modules), [*sys.path]
    sys.path.insert(0, str(BENCHMARKS))
    try:
        harness, run = module("harness"), module("run")
        harness.bench("good", "a good one", harness.Limits("ms", 10, 5, reach_p99=20))(
            lambda: iter([4.0, 5.0, 6.0])
        )
        harness.bench("bad", "a bad one", harness.Limits("s", 1, 0.5))(lambda: iter([3.0]))
        yield run
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - before:
            if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


def test_help_runs_nothing(bench, capsys):
    with pytest.raises(SystemExit) as ended:
        bench.main(["--help"])
    assert ended.value.code == 0
    assert "usage: benchmarks/run.py" in capsys.readouterr().out


def test_an_unknown_name_is_told_with_those_there_are(bench, capsys):
    with pytest.raises(SystemExit) as ended:
        bench.main(["godo"])
    assert ended.value.code == 2
    assert "there is no benchmark 'godo'; there are: up, down," in capsys.readouterr().err


def test_all_are_listed_with_their_limits(bench, capsys):
    assert bench.main(["--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"up", "notebooks", "good"} <= set(listed)
    assert listed["good"]["reach_p99"] == 20
    assert bench.main(["--list"]) == 0
    assert "| good " in capsys.readouterr().out


def test_the_result_is_a_table_or_values(bench, capsys):
    assert bench.main(["good", "bad"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in lines[4].split("|")][1:-1] == [
        "a good one", "3", "5 ms", "6 ms", "10 / 20", "5", "0.50",
    ]  # fmt: skip
    assert bench.main(["good", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["median"], result["values"], result["of_reach"]) == (5.0, [4.0, 5.0, 6.0], 0.5)


@pytest.fixture
def heeded(number):
    """Give the handler of a signal, which may be ignored here: tests run under nohup, too."""
    before = signal.getsignal(number)
    if before is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
    yield signal.getsignal(number)
    signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_ends_it_has_what_it_started_cleaned_up(bench, capsys, number, heeded):
    cleaned = []

    def hanging():
        try:
            yield 1.0
            os.kill(os.getpid(), number)
            yield 2.0
        finally:
            cleaned.append(number)

    bench.BENCHES["hanging"] = bench.BENCHES["bad"].__class__("hanging", "", None, hanging)
    assert bench.main(["hanging"]) == 130
    assert cleaned == [number]
    assert capsys.readouterr().err.endswith("interrupted\n")
    assert signal.getsignal(number) is heeded


def test_a_missed_limit_counts_where_it_is_asked_for(bench, capsys):
    assert [bench.main([*words.split()]) for words in ("bad", "good --check", "bad --check")] == [
        0,
        0,
        1,
    ]

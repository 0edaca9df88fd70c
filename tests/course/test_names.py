import pytest

from k8slab.course import Journal, load
from k8slab.course.names import choose, fill
from k8slab.errors import ExerciseError


def test_a_seed_always_picks_the_same_names_and_never_one_twice():
    names = {"a": ["x", "y"], "b": ["x", "y"]}
    for seed in range(20):
        picked = choose(names, seed, "exercise")
        assert picked == choose(names, seed, "exercise")
        assert sorted(picked.values()) == ["x", "y"]
    assert len({tuple(choose(names, seed, "e").items()) for seed in range(20)}) == 2


def test_too_few_choices_are_refused():
    with pytest.raises(ExerciseError, match="no choice is left for 'b'"):
        choose({"a": ["x"], "b": ["x"]}, 1, "e")


def test_names_are_put_into_every_text():
    value = {"<<a>>": ["<<a>>-<<b>>", 1, None, {"x": "<<b>>"}]}
    assert fill(value, {"a": "A", "b": "B"}, "e") == {"A": ["A-B", 1, None, {"x": "B"}]}
    with pytest.raises(ExerciseError, match="<<c>> is not among its names"):
        fill("<<c>>", {"a": "A"}, "exercise e")


def test_a_learner_has_one_seed(tmp_path):
    path = tmp_path / "p.sqlite"
    assert Journal(path).seed() == Journal(path).seed()


def test_an_exercise_that_is_called_otherwise_today_keeps_the_names_that_a_seed_picked(tmp_path):
    text = """
lab: 90-x
title: X
exercises:
  - id: {id}
    {formerly}
    title: T
    task: t
    names: {{a: [anna, boris, clara, dora, emil, frieda]}}
    checks:
      - {{check: field, title: <<a>>, object: pods/a, path: spec, exists: true}}
"""

    def names(**words):
        (tmp_path / "exercises.yaml").write_text(text.format(**words))
        return [load(tmp_path, lambda n=n: n).exercise(words["id"]).names for n in range(5)]

    old = names(id="old", formerly="")
    assert names(id="new", formerly="formerly: [old, newer]") == old
    assert names(id="new", formerly="") != old

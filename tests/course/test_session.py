import dataclasses

import pytest

from k8slab.errors import UsageError
from k8slab.grading import Context, Status, interrupted
from k8slab.objects import manifests


def solve(session):
    session.cluster.apply(
        manifests.load(session.lab.exercise("protect").solution), namespace="lab90-protect"
    )


def test_an_exercise_goes_from_not_started_to_solved(session):
    assert session.check("protect").status is Status.NOT_STARTED
    assert session.begin("protect").fresh
    assert session.check("protect").status is Status.FAILED
    solve(session)
    result = session.check("protect")
    assert (result.status, result.points) == (Status.PASSED, 2)


def test_beginning_again_leaves_the_answer_alone(session):
    session.begin("protect")
    solve(session)
    assert not session.begin("protect").fresh
    assert session.check("protect").passed


def test_beginning_again_gives_back_what_a_killed_check_had_taken(session):
    session.begin("protect")
    exercise = session.lab.exercise("protect")
    context = Context(session.cluster, exercise.namespace, exercise.setup)
    interrupted._write(context, "lab90-protect/batch")
    session.cluster.delete("pods", "batch", "lab90-protect")
    assert not session.begin("protect").fresh
    assert session.cluster.get("pods", "batch", "lab90-protect")


def test_a_reset_throws_the_answer_away(session):
    session.begin("protect")
    solve(session)
    assert session.reset("protect").fresh
    assert session.check("protect").status is Status.FAILED


def test_what_may_not_change_is_compared_with_the_set_up(session):
    session.begin("protect")
    solve(session)
    space = "lab90-protect"
    session.cluster.apply(
        manifests.load(
            "{apiVersion: v1, kind: Service, metadata: {name: extra}, spec: {ports: []}}"
        ),
        namespace=space,
    )
    result = session.check("protect")
    assert result.status is Status.FAILED
    assert result.counterexample.what == "services/extra"
    session.cluster.delete("services", "extra", space)
    session.cluster.delete("pods", "batch", space)
    result = session.check("protect")
    assert (result.counterexample.what, result.counterexample.seen) == ("pods/batch", "it is gone")


def test_an_edited_fixture_gives_no_points(session):
    session.begin("protect")
    solve(session)
    pod = dict(session.cluster.get("pods", "batch", "lab90-protect"))
    session.cluster.apply([{**pod, "metadata": {**pod["metadata"], "labels": {"app": "web"}}}])
    result = session.check("protect")
    assert result.status is Status.FAILED
    assert result.counterexample.seen == "metadata.labels.app was changed"


def test_an_answer_is_compared_with_what_the_cluster_says_now(session):
    session.begin("look")
    session.cluster.apply(
        [
            {
                **session.cluster.get("pods", "web", "lab90-look"),
                "metadata": {
                    "name": "web",
                    "namespace": "lab90-look",
                    "labels": {"app": "web", "checked": "yes"},
                },
            }
        ]
    )
    assert not session.check("look").passed
    session.answer("web-address", "10.9.9.9")
    result = session.check("look")
    assert not result.passed
    address = session.cluster.get("pods", "web", "lab90-look")["status"]["podIP"]
    assert address not in result.text()
    session.answer("web-address", f" {address} ")
    assert session.check("look").passed


def test_a_prediction_is_noted_and_nothing_depends_on_it(session):
    session.begin("protect")
    session.predict("open-by-default", "silent", 4)
    seen = session.observe("open-by-default")
    assert seen.came_true is False
    assert "open" in seen.lines[0]
    assert session.progress().surprises[0].prediction == "open-by-default"


def test_observing_without_a_prediction_works_and_is_noted(session):
    session.begin("protect")
    assert session.observe("open-by-default").came_true is None
    (event,) = session.journal.events("90-example", "observation")
    assert event.data["predicted"] is False


def test_a_reason_can_be_chosen(session):
    assert session.explain("open-by-default", "model").right
    assert not session.explain("open-by-default", "luck").right


def test_hints_come_in_steps_and_stay_at_the_last(session):
    texts = [session.hint("protect").text for _ in range(3)]
    assert texts[0] != texts[1] == texts[2]
    assert session.progress().hints["protect"] == 2


def test_hints_and_tries_under_a_former_id_count_under_todays(session):
    journal, lab = session.journal, session.lab
    journal.add(lab.name, "hint", "fence", step=1)
    journal.add(lab.name, "check", "fence", status="failed", points=0)
    exercise = dataclasses.replace(lab.exercise("protect"), formerly=("fence",), hint_cost=0.5)
    session.lab = dataclasses.replace(lab, exercises={"protect": exercise})
    assert session.solution("protect")
    session.begin("protect")
    assert session.check("protect").cost == 0.5
    assert session.hint("protect").number == 2


def test_the_solution_comes_after_a_try(session):
    with pytest.raises(UsageError, match="try it first"):
        session.solution("protect")
    session.begin("protect")
    session.check("protect")
    assert "kind: NetworkPolicy" in session.solution("protect").text


def test_a_solution_that_was_shown_is_shown_again_without_a_try(session):
    shown = session.solution("protect", force=True).text
    assert session.solution("protect").text == shown


def test_progress_keeps_the_best_check(session):
    session.begin("protect")
    solve(session)
    session.check("protect")
    session.reset("protect")
    session.check("protect")
    progress = session.progress()
    assert progress.points == {"look": 0, "protect": 2}
    assert progress.tries["protect"] == 2


def test_what_the_cluster_cannot_do_is_said_and_not_counted(session):
    exercise = session.lab.exercise("protect")
    wishes = dataclasses.replace(exercise.wishes, needs=("dual-stack",))
    session.lab.exercises["protect"] = dataclasses.replace(exercise, wishes=wishes)
    session.begin("protect")
    result = session.check("protect")
    assert result.status is Status.INCONCLUSIVE
    assert "k8slab up --name dual --ip-family dual" in result.text()
    progress = session.progress()
    assert progress.max_points == {"look": 1}
    assert progress.impossible == {"protect": "dual-stack"}
    assert "protect: not counted (dual-stack)" in progress.text()


def test_what_was_solved_on_a_cluster_that_could_goes_on_counting(session):
    session.begin("protect")
    solve(session)
    session.check("protect")
    exercise = session.lab.exercise("protect")
    wishes = dataclasses.replace(exercise.wishes, needs=("dual-stack",))
    session.lab.exercises["protect"] = dataclasses.replace(exercise, wishes=wishes)
    session.check("protect")
    assert session.progress().points["protect"] == 2
    assert session.progress().impossible == {}


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.check("nothing"),
        lambda s: s.predict("open-by-default", "maybe"),
        lambda s: s.predict("open-by-default", "open", 9),
        lambda s: s.answer("nobody-asked", 1),
        lambda s: s.explain("open-by-default", "because"),
        lambda s: s.hint("look"),
    ],
)
def test_what_does_not_exist_is_said_with_what_does(session, call):
    with pytest.raises(UsageError) as error:
        call(session)
    assert error.value.hint or "no hints" in str(error.value) or "from 1" in str(error.value)

"""Jobs, CronJobs and StatefulSets that are refused, and what may be changed of them."""

import pytest

from k8slab.errors import ApiStatusError

JOBS, CRONS, SETS = "jobs.batch", "cronjobs.batch", "statefulsets.apps"
CONTAINER = {"name": "main", "image": "web"}


def job(name="j", *, restart="Never", **spec):
    template = {"spec": {"restartPolicy": restart, "containers": [CONTAINER]}}
    metadata = {"name": name, "namespace": "default"}
    return {"metadata": metadata, "spec": {"template": template, **spec}}


def indexed(**spec):
    return job(completionMode="Indexed", **{"completions": 3, **spec})


def said(write, *arguments):
    with pytest.raises(ApiStatusError) as caught:
        write(*arguments)
    assert caught.value.code == 422
    return caught.value.message.split(" is invalid: ", 1)[1]


MANY = {"completions": 100_001, "backoffLimitPerIndex": 1}
ONE_POLICY = "specifying one of OnExitCodes and OnPodConditions is required"


def failing(*rules, **spec):
    return job(podFailurePolicy={"rules": list(rules)}, **spec)


def codes(operator, *values, **more):
    return {"action": "Count", "onExitCodes": {"operator": operator, "values": values, **more}}


def succeeding(*rules):
    return indexed(successPolicy={"rules": list(rules)})


REFUSED = [
    (job(activeDeadlineSeconds=-1), "spec.activeDeadlineSeconds: Invalid value: -1"),
    (job(completionMode="Indexed", parallelism=2), "spec.completions: Required value: when compl"),
    (indexed(parallelism=100_001), "must be less than or equal to 100000 when completion mode is"),
    (indexed(**MANY), "spec.maxFailedIndexes: Required value: must be specified when completions"),
    (indexed(**MANY, maxFailedIndexes=1, parallelism=10_001), "spec.parallelism: Invalid value: 1"),
    (indexed(**MANY, maxFailedIndexes=10_001), "10000 when completions are above 100000 and used"),
    (indexed(maxFailedIndexes=1), "spec.backoffLimitPerIndex: Required value: when maxFailedInd"),
    (indexed(backoffLimitPerIndex=1, maxFailedIndexes=4), "less than or equal to completions"),
    (job(backoffLimitPerIndex=1), "backoffLimitPerIndex: Invalid value: 1: requires indexed com"),
    (job("j" * 62, completionMode="Indexed", completions=11), "invalid DNS label: " + "j" * 62),
    (job(restart="OnFailure", podFailurePolicy={"rules": []}), 'only "Never" is supported when'),
    (failing({"action": "Count"}), f"rules[0]: Invalid value: {ONE_POLICY}"),
    (failing(codes("In", 0)), "values[0]: Invalid value: 0: must not be 0 for the In operator"),
    (failing(codes("In", 2, 1)), "values: Invalid value: [2,1]: must be ordered"),
    (failing(codes("In", 1, 1)), "values[1]: Duplicate value: 1"),
    (failing(codes("In", 1, containerName="x")), "must be one of the container or initContainer"),
    (failing({**codes("In", 1), "action": "FailIndex"}), "requires the backoffLimitPerIndex to be"),
    (job(podReplacementPolicy="Never"), 'supported values: "Failed", "TerminatingOrFailed"'),
    (succeeding(), "at least one rules must be specified when the successPolicy is specified"),
    (succeeding({"succeededIndexes": "1-3"}), 'parsing succeededIndexes: too large index: "3"'),
    (succeeding({"succeededIndexes": "1,1"}), "non-increasing order, previous: 1, current: 1"),
    (succeeding({"succeededIndexes": "9" * 5000}), "cannot convert string to integer for index"),
    (succeeding({"succeededIndexes": "0-1", "succeededCount": 3}), "equal to 2 (the number of ind"),
    (succeeding({}), "at least one of succeededCount or succeededIndexes must be specified"),
]  # fmt: skip


@pytest.mark.parametrize(("obj", "words"), REFUSED)
def test_what_is_wrong_with_a_job(api, obj, words):
    assert words in said(api.create, JOBS, obj)


@pytest.mark.parametrize(
    "obj",
    [
        indexed(completions=2**31 - 1, parallelism=100_000),
        indexed(**MANY, maxFailedIndexes=10_000, parallelism=10_000),
        succeeding({"succeededIndexes": "0-1,2", "succeededCount": 3}),
        failing(codes("NotIn", 0, 1)),
    ],
)
def test_jobs_at_the_limits_are_taken(api, obj):
    assert api.create(JOBS, obj)


@pytest.mark.parametrize(
    ("more", "policy"),
    [
        ({}, "TerminatingOrFailed"),
        ({"podFailurePolicy": {}}, "Failed"),
        ({"podFailurePolicy": {"rules": [codes("In", 1)]}}, "Failed"),
    ],
)
def test_a_job_with_a_failure_policy_replaces_only_pods_that_have_failed(api, more, policy):
    assert api.create(JOBS, job(**more))["spec"]["podReplacementPolicy"] == policy


def changed(found, **spec):
    return {**found, "spec": {**found["spec"], **spec}}


def pods_with(found, **spec):
    template = found["spec"]["template"]
    return changed(found, template={**template, "spec": {**template["spec"], **spec}})


def test_completions_are_fixed_unless_an_indexed_job_is_scaled_as_a_whole(api):
    plain = api.create(JOBS, job("plain", completions=2))
    assert "spec.completions: Invalid value: 3: field is immutable" in said(
        api.update, JOBS, changed(plain, completions=3)
    )
    made = api.create(JOBS, indexed(parallelism=3))
    assert "can only be modified in tandem with spec.parallelism" in said(
        api.update, JOBS, changed(made, completions=4)
    )
    assert api.update(JOBS, changed(made, completions=4, parallelism=4))


def test_the_template_of_a_job_that_rests_may_say_otherwise_where_pods_go(api):
    made = api.create(JOBS, job(suspend=True))
    term = {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity = {"nodeAffinity": {required: {"nodeSelectorTerms": [term]}}}
    resources = {"requests": {"cpu": "1"}}
    containers = [{**made["spec"]["template"]["spec"]["containers"][0], "resources": resources}]
    for fields in (
        {"nodeSelector": {"disk": "ssd"}},
        {"tolerations": [{"operator": "Exists"}]},
        {"affinity": affinity},
        {"affinity": None},
        {"containers": containers},
    ):
        made = api.update(JOBS, pods_with(made, **fields))
    assert made["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "ssd"}
    image = [{**containers[0], "image": "other"}]
    words = "spec.template.spec: Invalid value"
    assert words in said(api.update, JOBS, pods_with(made, containers=image))
    running = api.update_status(JOBS, {**made, "status": {"startTime": "2026-01-01T00:00:00Z"}})
    other = pods_with(running, nodeSelector={"disk": "hdd"})
    assert "spec.template: Invalid value" in said(api.update, JOBS, other)
    suspended = {"type": "Suspended", "status": "True"}
    rests = {"startTime": "2026-01-01T00:00:00Z", "conditions": [suspended]}
    again = api.update_status(JOBS, {**running, "status": rests})
    assert api.update(JOBS, pods_with(again, nodeSelector={"disk": "hdd"}))


def test_a_cron_job_is_judged_by_its_jobs_and_keeps_a_long_name(api):
    def cron(**spec):
        metadata = {"name": "c", "namespace": "default"}
        template = {"spec": job(**spec)["spec"]}
        return {"metadata": metadata, "spec": {"schedule": "* * * * *", "jobTemplate": template}}

    path = "spec.jobTemplate.spec.completions: Required value"
    assert path in said(api.create, CRONS, cron(completionMode="Indexed"))
    selector = {"matchLabels": {"a": "b"}}
    assert "will be auto-generated" in said(api.create, CRONS, cron(selector=selector))
    assert api.create(CRONS, cron(completionMode="Indexed", completions=2))


def stateful(**spec):
    labels = {"app": "db"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [CONTAINER]}}
    metadata = {"name": "db", "namespace": "default"}
    selector = {"matchLabels": labels}
    return {"metadata": metadata, "spec": {"selector": selector, "template": template, **spec}}


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ({"type": "OnDelete", "rollingUpdate": {}}, "only allowed for updateStrategy 'RollingUpd"),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}, "0: cannot be 0"),
        ({"rollingUpdate": {"maxUnavailable": "101%"}}, "must not be greater than 100%"),
        ({"rollingUpdate": {"partition": -1}}, "partition: Invalid value: -1"),
    ],
)
def test_what_is_wrong_with_the_strategy_of_a_stateful_set(api, strategy, words):
    assert words in said(api.create, SETS, stateful(updateStrategy=strategy))


def test_the_name_of_a_stateful_sets_service_is_fixed(api):
    made = api.create(SETS, stateful(serviceName="db"))
    words = 'spec.serviceName: Invalid value: "other": field is immutable'
    assert words in said(api.update, SETS, changed(made, serviceName="other"))
    assert api.update(SETS, changed(made, replicas=3, minReadySeconds=1))

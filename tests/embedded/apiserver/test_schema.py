"""The compiled tables are those of the pinned package, and agree with each other."""

from __future__ import annotations

import pytest

from k8slab.embedded.apiserver import defaults, list_rules, protobuf, schema, schema_build
from k8slab.embedded.apiserver.kinds import KindTable
from k8slab.embedded.apiserver.schema import WrongTypeError, decode, type_of


def test_the_tables_are_what_the_kubernetes_package_gives():
    for path, table in zip(
        (schema_build.TABLE, schema_build.TEXTS), schema_build.build(), strict=True
    ):
        assert path.read_bytes() == schema_build.text(table), (
            "run: python -m k8slab.embedded.apiserver.schema_build"
        )


def test_every_type_that_a_field_names_is_there():
    table = schema.raw_table()
    for name in table:
        for field in type_of(name).fields.values():
            assert not field.is_type or field.word in table, f"{name}.{field.name}"


def test_every_served_kind_has_a_schema():
    for kind in KindTable.built_in().rows.values():
        assert schema.type_of_kind(kind), kind.resource


def test_list_rules_name_lists_that_exist():
    types = {name.rpartition(".")[2]: type_of(name) for name in schema.raw_table()}
    for word, fields in list_rules._RULES.items():
        for field, rule in fields.items():
            known = types[word].fields[field]
            assert known.shape == "[" or rule.strategy in ("retainKeys", "replace")
            inner = type_of(known.word) if known.is_type else None
            for key in (*rule.keys, *([rule.merge_key] if rule.merge_key else [])):
                assert inner, f"{word}.{field}"
                assert key in inner.fields, f"{word}.{field}: {key}"
    assert set(types) >= list_rules.ATOMIC_TYPES


def test_defaults_are_fields_of_the_schema():
    for kind in KindTable.built_in().rows.values():
        if kind.stored_as:
            continue
        obj = {"metadata": {"name": "x", "uid": "u"}}
        defaults.apply(kind, obj)
        assert decode(obj, schema.type_of_kind(kind)) == [], kind.resource


def test_field_numbers_name_fields_of_the_schema():
    known = schema.raw_table()
    for name, rows in protobuf._table().items():
        if name not in known:
            continue
        fields = type_of(name).fields
        named = {row[0] for row in rows.values() if row[0]}
        assert fields.keys() - named - {"kind", "apiVersion"} <= _inlined(rows), name


def _inlined(rows):
    table = protobuf._table()
    return {
        field
        for row in rows.values()
        if row[2]
        for inner in table.get(row[2], {}).values()
        for field in ({inner[0]} | _inlined({"": inner} if inner[2] else {}))
    }


def test_unknown_fields_are_dropped_and_reported():
    obj = {"metadata": {"name": "x"}, "spec": {"containers": [{"nam": "a", "image": None}]}}
    unknown = decode(obj, type_of("io.k8s.api.core.v1.Pod"))
    assert unknown == ["spec.containers[0].nam"]
    assert obj == {"metadata": {"name": "x"}, "spec": {"containers": [{"name": ""}]}}


def test_a_required_field_that_nobody_gave_has_its_zero_value_as_in_go():
    obj = {"spec": {"ports": [{"name": "web"}]}, "status": {"conditions": [None]}}
    decode(obj, type_of("io.k8s.api.core.v1.Service"))
    assert obj["spec"]["ports"] == [{"name": "web", "port": 0}]
    assert obj["status"]["conditions"][0]["type"] == ""
    apply = {"spec": {"ports": [{"name": "web"}]}}
    decode(apply, type_of("io.k8s.api.core.v1.Service"), complete=False)
    assert apply == {"spec": {"ports": [{"name": "web"}]}}


@pytest.mark.parametrize(
    ("kind", "obj", "message"),
    [
        (
            "apps.v1.Deployment",
            {"spec": {"replicas": 2**31}},
            (
                "json: cannot unmarshal number 2147483648 into Go struct field "
                "DeploymentSpec.spec.replicas of type int32"
            ),
        ),
        (
            "core.v1.Pod",
            {"spec": {"terminationGracePeriodSeconds": 1e300}},
            "PodSpec.spec.terminationGracePeriodSeconds of type int64",
        ),
        (
            "core.v1.Pod",
            {"status": {"startTime": "soon"}},
            'parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006"',
        ),
        (
            "core.v1.Pod",
            {"status": {"startTime": "2026-13-01T00:00:00Z"}},
            'parsing time "2026-13-01T00:00:00Z": month out of range',
        ),
        ("core.v1.Secret", {"data": {"a": "%%"}}, "illegal base64 data at input byte 0"),
        (
            "core.v1.Pod",
            {"spec": {"overhead": {"cpu": "much"}}},
            (
                "quantities must match the regular expression "
                "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            ),
        ),
    ],
)
def test_a_text_or_number_that_go_cannot_hold_is_refused_in_its_words(kind, obj, message):
    with pytest.raises(WrongTypeError) as error:
        decode(obj, type_of(f"io.k8s.api.{kind}"))
    assert str(error.value).endswith(message)


def test_times_are_kept_in_utc_with_the_digits_of_their_type():
    lease = {"spec": {"renewTime": "2026-01-01T01:30:00.25+01:30"}}
    decode(lease, type_of("io.k8s.api.coordination.v1.Lease"))
    assert lease["spec"]["renewTime"] == "2026-01-01T00:00:00.250000Z"
    pod = {"status": {"startTime": "2026-01-01T00:00:00.7Z"}}
    decode(pod, type_of("io.k8s.api.core.v1.Pod"))
    assert pod["status"]["startTime"] == "2026-01-01T00:00:00Z"


def test_the_zero_time_of_go_is_no_time():
    obj = {"metadata": {"creationTimestamp": "0001-01-01T00:00:00Z"}}
    decode(obj, type_of("io.k8s.api.core.v1.Pod"))
    assert obj["metadata"] == {}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"replicas": "x"},
            (
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas "
                "of type int32"
            ),
        ),
        (
            {"template": []},
            (
                "json: cannot unmarshal array into Go struct field DeploymentSpec.spec.template "
                "of type v1.PodTemplateSpec"
            ),
        ),
        (
            {"template": {"spec": {"containers": {}}}},
            (
                "json: cannot unmarshal object into Go struct field "
                "PodSpec.spec.template.spec.containers of type []v1.Container"
            ),
        ),
        (
            {"template": {"spec": {"containers": [{"image": 3}]}}},
            (
                "json: cannot unmarshal number into Go struct field "
                "Container.spec.template.spec.containers.image of type string"
            ),
        ),
        (
            {"paused": "yes"},
            (
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused "
                "of type bool"
            ),
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": True}}},
            (
                "json: cannot unmarshal bool into Go struct field "
                "RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type int32"
            ),
        ),
    ],
)
def test_a_wrong_type_is_refused_in_the_words_of_the_real_decoder(spec, message):
    with pytest.raises(WrongTypeError) as error:
        decode({"spec": spec}, type_of("io.k8s.api.apps.v1.Deployment"))
    assert str(error.value) == message


def test_quantities_may_be_numbers():
    obj = {"spec": {"containers": [{"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}]}}
    decode(obj, type_of("io.k8s.api.core.v1.Pod"))
    limits = obj["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "1", "memory": "1Gi"}

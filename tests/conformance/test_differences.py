"""``book/differences.md`` says what is so: the tables are compared with the models and the code."""

import re
from pathlib import Path

import differences
import pytest

from k8slab.errors import ApiStatusError

PAGE = (Path(__file__).parents[2] / "book" / "differences.md").read_text(encoding="utf-8")


def rows(heading):
    """Return the first two cells of each row of the table under a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| (.*?) \| (.*?) \|$", section, re.MULTILINE)
    return [row for row in found if not set(row[0]) <= {"-"}][1:]


def test_the_kinds_that_are_not_served_are_listed():
    listed = [kind for row, _ in rows("Kinds that are not served") for kind in row.split(", ")]
    assert sorted(listed) == sorted(differences.kinds_not_served())


def test_the_fields_that_have_no_effect_are_listed():
    listed = {
        word: set(re.findall(r"`(\w+)`", cell)) for word, cell in rows("Fields that have no effect")
    }
    assert listed == differences.fields_without_effect()


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/logs",
        "/openid/v1/jwks",
        "/api/v1/componentstatuses",
        "/apis/autoscaling/v2/horizontalpodautoscalers",
        "/api/v1/nodes/NODE/proxy/healthz",
        "/apis/networking.k8s.io/v1/servicecidrs",
    ],
)
def test_what_is_said_not_to_be_served_is_not(cluster, path):
    with pytest.raises(ApiStatusError) as caught:
        cluster.request("GET", path.replace("NODE", f"{cluster.name}-worker"))
    assert caught.value.code == 404

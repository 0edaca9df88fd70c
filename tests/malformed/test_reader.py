"""Manifests spoilt at random: our reader reads them or says where they are wrong, nothing else.

A sample runs with all tests, ten thousand with ``make test ARGS="-m slow tests/malformed"``.
"""

from __future__ import annotations

import json
import os
import time

import pytest
import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from k8slab.errors import ManifestError
from k8slab.objects import manifests
from tests.malformed.valid import EXAMPLES

SEED = int(os.environ.get("K8SLAB_SEED", "1"))
SECONDS = 5.0
"""For texts of some kilobytes, on a machine that is busy."""

OBJECTS = [
    {"apiVersion": "v1", "kind": "Spoilt", "metadata": {"name": "a"}, **body}
    for body in EXAMPLES.values()
]
SPLINTERS = st.sampled_from(
    [
        "\t",
        "\x00",
        "\ufeff",
        "\u2028",
        "&a ",
        "*a",
        "<<: *a",
        "!!binary ",
        "!!int ",
        "!!python/object:os.system ",
        "? ",
        "- ",
        ": ",
        "#",
        "%",
        "---\n",
        "...\n",
        "|\n",
        ">9\n",
        "{",
        "]",
        '"',
        "'",
        "\\u",
        "\n\n",
        " " * 300,
        "1e999",
        ".nan",
        "0x",
        "99999999999999999999",
        "\ud800",
        "é",
        "\r",
    ]
)


@st.composite
def texts(draw):
    """Return a manifest with a few characters cut out, doubled or put in."""
    objects = draw(st.lists(st.sampled_from(OBJECTS), min_size=1, max_size=3))
    as_json = draw(st.booleans())
    text = "\n".join(map(json.dumps, objects)) if as_json else yaml.safe_dump_all(objects)
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 40)))
        part = draw(st.one_of(st.just(""), st.just(text[start:end] * 2), SPLINTERS))
        text = text[:start] + part + text[end:]
    return text


RUNS = [
    pytest.param(120, id="sample"),
    pytest.param(10_000, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
]


def place_of_what_is_read(content: str | bytes) -> str:
    """Read a text; return the place of its first object's containers, or of what is wrong."""
    try:
        found = manifests.load_text(content, "f.yaml")
    except ManifestError as error:
        return error.place
    for manifest in found:
        json.dumps(manifest.object, allow_nan=False)
    return found[0].place_of("spec", "containers", 0) if found else "f.yaml"


@pytest.mark.parametrize("number", RUNS)
def test_a_spoilt_manifest_is_read_or_refused_with_its_place(number):
    @seed(SEED)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(texts(), st.booleans())
    def read(text, as_bytes):
        content = text.encode("utf-8", "surrogatepass") if as_bytes else text
        before = time.process_time()
        place = place_of_what_is_read(content)
        assert place.startswith("f.yaml"), place
        assert time.process_time() - before < SECONDS

    read()

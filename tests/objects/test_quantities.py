"""What amounts mean, and how the API writes them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from k8slab.objects import quantities


@pytest.mark.parametrize(
    ("text", "number", "written"),
    [
        ("0", 0, "0"),
        ("0.5", "0.5", "500m"),
        (".5", "0.5", "500m"),
        ("1000m", 1, "1"),
        ("1500m", "1.5", "1500m"),
        ("100", 100, "100"),
        ("1000", 1000, "1k"),
        ("1500", 1500, "1500"),
        ("+2", 2, "2"),
        ("-1500m", "-1.5", "-1500m"),
        ("1024Mi", 2**30, "1Gi"),
        ("1.5Gi", 3 * 2**29, "1536Mi"),
        ("0.5Mi", 2**19, "512Ki"),
        ("1.1Gi", "1181116006.4", "1181116006400m"),
        ("-1.1Ki", "-1126.4", "-1126400m"),
        ("1.0009765625Ki", 1025, "1025"),
        ("1Ki", 1024, "1Ki"),
        ("0.5Ki", 512, "512"),
        ("1000Ki", 1024000, "1000Ki"),
        ("128000000", 128000000, "128M"),
        ("1e3", 1000, "1e3"),
        ("12E2", 1200, "1200"),
        ("1E", 10**18, "1E"),
        ("0.1n", "1e-10", "1n"),
        ("100E", 10**20, str(2**63 - 1)),
    ],
)
def test_an_amount_has_one_spelling(text, number, written):
    assert quantities.number(text) == Decimal(number)
    assert quantities.written(text) == written
    assert quantities.written(written) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (f"1e{'9' * 40}", "9223372036854775807"),
        (f"-1e-{'9' * 40}", "-1e-9"),
        (f"0e{'9' * 40}", "0"),
        ("9" * 5000, "9223372036854775807"),
    ],
)
def test_an_amount_beyond_all_bounds_is_the_nearest_that_there_is(text, written):
    assert quantities.written(text) == written


@pytest.mark.parametrize("text", ["", "one", "1 Mi", "1mi", "1i", "1KiB", "Mi"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match="is no quantity"):
        quantities.number(text)

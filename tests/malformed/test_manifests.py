"""Old and odd manifests, through the real kubectl and through our own reader."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from k8slab.errors import ManifestError
from k8slab.objects import manifests
from tests.malformed.manifest_cases import READ, READS, REFUSED
from tests.malformed.served import NAMESPACE


@pytest.fixture
def apply(served, tmp_path):
    """Apply a text with the real kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl here")

    def applied(text: bytes, *more: str) -> subprocess.CompletedProcess:
        file = tmp_path / "f.yaml"
        file.write_bytes(text)
        words = [f"--kubeconfig={served.kubeconfig}", f"--cache-dir={tmp_path}", "-n", NAMESPACE]
        return subprocess.run(
            ["kubectl", *words, "apply", "-f", str(file), *more],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return applied


@pytest.mark.parametrize("text", READ.values(), ids=READ.keys())
def test_an_odd_manifest_is_read_alike(apply, text):
    done = apply(text)
    assert done.returncode == 0, done.stderr
    mine = manifests.load_text(text, "f.yaml")
    assert done.stdout.count("configmap/") == len(mine)


@pytest.mark.parametrize(("text", "kubectl_says", "we_say"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_manifest_is_refused_with_what_is_wrong(served, apply, text, kubectl_says, we_say):
    done = apply(text)
    assert (done.returncode == 0) == (kubectl_says == READS), done.stderr
    assert kubectl_says == READS or kubectl_says in done.stderr
    assert "panic" not in done.stderr
    if we_say == READS:
        assert manifests.load_text(text, "f.yaml")
    else:
        with pytest.raises(ManifestError, match=re.escape(we_say)) as error:
            manifests.load_text(text, "f.yaml")
        assert error.value.place.startswith("f.yaml")
    assert not served.new_complaints()


def test_a_manifest_is_refused_alike_when_the_server_applies_it(apply):
    text = REFUSED["a wrong type"][0]
    done = apply(text, "--server-side")
    assert done.returncode != 0
    assert "data" in done.stderr

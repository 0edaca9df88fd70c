"""The kubeconfig that leaves a cluster: three texts, checked, and nothing else."""

import json
import os
import stat

import pytest

from k8slab.embedded import credentials
from k8slab.embedded.apiserver import pki
from k8slab.embedded.config import ClusterConfig
from k8slab.errors import ClusterError

SERVER = "https://127.0.0.1:7"
_NESTED = pytest.param("[" * 60_000, id="nested")


def test_what_the_daemon_writes_is_taken_over_as_it_is(tmp_path):
    pki.ensure_pki(tmp_path / "pki", ClusterConfig())
    written = pki.kubeconfig_text(tmp_path / "pki", "k8slab-lab", SERVER)
    (tmp_path / "kubeconfig").write_text(written)
    assert credentials.take_over(tmp_path / "kubeconfig", "k8slab-lab", SERVER) == written


@pytest.mark.parametrize("place", ["kubeconfig", "kubeconfig.new"])
def test_what_lies_where_it_is_written_is_replaced_and_never_opened(tmp_path, place):
    mine, written = tmp_path / "mine", tmp_path / "kubeconfig"
    mine.write_text("mine")
    (tmp_path / place).symlink_to(mine)
    credentials.write(written, "text")
    assert (written.read_text(), mine.read_text()) == ("text", "mine")
    assert written.lstat().st_mode == stat.S_IFREG | 0o600
    (tmp_path / place).unlink(missing_ok=True)
    os.mkfifo(tmp_path / place)
    credentials.write(written, "again")
    assert written.read_text() == "again"
    assert {path.name for path in tmp_path.iterdir()} == {"kubeconfig", "mine"}


def test_a_directory_where_it_is_prepared_is_set_aside(tmp_path):
    (tmp_path / "kubeconfig.new" / "mine").mkdir(parents=True)
    credentials.write(tmp_path / "kubeconfig", "text")
    assert (tmp_path / "kubeconfig").read_text() == "text"
    assert (tmp_path / "kubeconfig.new.aside1" / "mine").is_dir()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", _NESTED, '{"clusters": []}', '{"clusters": 1}', "\x00"]
)
def test_what_is_no_kubeconfig_is_refused_with_what_to_do(tmp_path, text):
    (tmp_path / "kubeconfig").write_text(text)
    with pytest.raises(ClusterError, match="credentials that the cluster left") as caught:
        credentials.take_over(tmp_path / "kubeconfig", "k8slab-lab", SERVER)
    assert "k8slab reset" in caught.value.hint


@pytest.mark.parametrize("data", ["AAAA", "!", 7, None, ["AAAA"]])
def test_a_key_that_is_no_pem_is_refused(tmp_path, data):
    pki.ensure_pki(tmp_path / "pki", ClusterConfig())
    content = json.loads(pki.kubeconfig_text(tmp_path / "pki", "x", SERVER))
    content["users"][0]["user"]["client-key-data"] = data
    (tmp_path / "kubeconfig").write_text(json.dumps(content))
    with pytest.raises(ClusterError, match="credentials that the cluster left"):
        credentials.take_over(tmp_path / "kubeconfig", "x", SERVER)

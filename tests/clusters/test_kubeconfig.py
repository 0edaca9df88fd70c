import base64
import json
import os
import stat

import pytest
import yaml

from k8slab import programs
from k8slab.clusters import Cluster, kubeconfig
from k8slab.errors import ProgramError, UsageError


def content(name="lab", user=None, cluster=None):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {"name": name, "cluster": {"server": "https://127.0.0.1:1", **(cluster or {})}}
        ],
        "users": [{"name": name, "user": user or {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }


def write(path, value):
    path.write_text(yaml.safe_dump(value))
    return path


def inline(text):
    return base64.b64encode(text).decode()


def test_inline_certificates_are_decoded(tmp_path):
    user = {"client-certificate-data": inline(b"CERT"), "client-key-data": inline(b"KEY")}
    file = write(
        tmp_path / "c", content(user=user, cluster={"certificate-authority-data": inline(b"CA")})
    )
    found = kubeconfig.read(file)
    assert (found.ca, found.certificate, found.key) == (b"CA", b"CERT", b"KEY")
    assert (found.server, found.namespace, found.context) == (
        "https://127.0.0.1:1",
        "default",
        "lab",
    )


def test_certificate_files_are_relative_to_the_kubeconfig(tmp_path):
    (tmp_path / "ca.pem").write_bytes(b"CA")
    file = write(tmp_path / "c", content(cluster={"certificate-authority": "ca.pem"}))
    assert kubeconfig.read(file).ca == b"CA"


def test_a_json_kubeconfig_is_read_too(tmp_path):
    file = tmp_path / "c"
    file.write_text(json.dumps(content()))
    assert kubeconfig.contexts(file) == ["lab"]


@pytest.mark.parametrize(
    ("value", "context", "message"),
    [
        (content(), "other", "has no context named 'other'\n  it has: lab"),
        ({"contexts": []}, "", "has no current context\n  it has: none"),
        ({**content(), "clusters": []}, "", "has no cluster named 'lab'\n  it has: none"),
        ([1], "", "is not a kubeconfig"),
        (content(cluster={"certificate-authority": "gone.pem"}), "", "gone.pem cannot be read"),
    ],
)
def test_what_is_wrong_with_a_kubeconfig_is_said(tmp_path, value, context, message):
    file = write(tmp_path / "c", value)
    with pytest.raises(UsageError) as caught:
        kubeconfig.read(file, context)
    assert message in str(caught.value)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        kubeconfig.read(tmp_path / "missing")
    (tmp_path / "broken").write_text("a: [")
    with pytest.raises(UsageError, match="broken is not valid"):
        kubeconfig.read(tmp_path / "broken")


class Plugin:
    def __init__(self, stdout):
        self.stdout, self.env = stdout, {}

    def find(self, program):
        return program

    def run(self, argv, *, deadline, stdin, env):
        self.env = env
        return programs.Completed(tuple(argv), 0, self.stdout)


def test_a_credential_plugin_gives_the_token(tmp_path):
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "get-token",
        "env": [{"name": "REGION", "value": "north"}],
    }
    file = write(tmp_path / "c", content(user={"exec": plugin}))
    status = {"token": "t", "clientCertificateData": "CERT", "clientKeyData": "KEY"}
    door = Plugin(json.dumps({"status": status}))
    with programs.replaced(door):
        found = kubeconfig.read(file)
    assert (found.token, found.certificate, found.key) == ("t", b"CERT", b"KEY")
    assert door.env["REGION"] == "north"
    assert "ExecCredential" in door.env["KUBERNETES_EXEC_INFO"]
    with programs.replaced(Plugin("oops")), pytest.raises(ProgramError, match="no credentials"):
        kubeconfig.read(file)


def test_merging_keeps_what_is_there_and_the_current_context(tmp_path):
    target = write(tmp_path / "config", content("mine"))
    target.chmod(0o644)
    source = write(tmp_path / "source", content("lab", user={"token": "new"}))
    assert kubeconfig.merge(target, source, make_current=False) == "lab"
    kubeconfig.merge(target, source, make_current=False)
    merged = kubeconfig.load(target)
    assert merged["current-context"] == "mine"
    assert [entry["name"] for entry in merged["contexts"]] == ["mine", "lab"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600  # there is a key in it now


def test_merging_into_nothing_makes_the_file(tmp_path):
    source = write(tmp_path / "source", content("lab"))
    target = tmp_path / "new" / "config"
    kubeconfig.merge(target, source, make_current=True)
    assert kubeconfig.load(target)["current-context"] == "lab"
    assert [entry.name for entry in target.parent.iterdir()] == ["config"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("step", ["fsync", "write"])
def test_a_merge_that_is_interrupted_leaves_no_half_backup(monkeypatch, tmp_path, step):
    target = write(tmp_path / "config", content("mine"))
    source = write(tmp_path / "source", content("lab"))
    before = target.read_bytes()

    def interrupted(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "fsync":
            patch.setattr(os, "fsync", interrupted)
        else:
            patch.setattr(os, "fdopen", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kubeconfig.merge(target, source, make_current=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["config", "source"]
    assert target.read_bytes() == before
    kubeconfig.merge(target, source, make_current=True)
    kubeconfig.merge(target, source, make_current=True)
    assert (tmp_path / f"config{kubeconfig.BACKUP}").read_bytes() == before


def test_the_learners_file_is_the_first_of_kubeconfig(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/a:{tmp_path}/b")
    assert kubeconfig.learners_file() == tmp_path / "a"
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kubeconfig.learners_file() == tmp_path / ".kube" / "config"


def test_a_file_of_the_state_directory_is_not_the_learners_own(monkeypatch, tmp_path):
    ours = tmp_path / "state" / "clusters" / "k8slab" / "kubeconfig"
    ours.parent.mkdir(parents=True)
    ours.touch()
    (tmp_path / "link").symlink_to(ours)
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for given, own in (
        (f"{ours}:{tmp_path}/link:{tmp_path}/b", tmp_path / "b"),
        (f"{tmp_path}/link", tmp_path / ".kube" / "config"),
        ("", tmp_path / ".kube" / "config"),
    ):
        monkeypatch.setenv("KUBECONFIG", given)
        assert kubeconfig.learners_own() == own


@pytest.mark.parametrize(
    "user",
    [
        {"exec": {"command": "/bin/false", "apiVersion": "v1"}},
        {"auth-provider": {"name": "gcp"}},
        {"client-certificate": "/etc/shadow"},
        {"tokenFile": "/etc/shadow"},
    ],
)
def test_the_kubeconfig_of_an_embedded_cluster_names_no_program_and_no_file(tmp_path, user):
    file = write(tmp_path / "c", content(user=user))
    handle = Cluster("lab", provider="embedded", kubeconfig=file)
    with pytest.raises(UsageError, match=next(iter(user))):
        handle.get("pods", "p", "default")


def test_what_is_no_file_stays_what_it_is(tmp_path):
    """``KUBECONFIG=/dev/null`` is a way to have none, and root may replace a device."""
    os.mkfifo(tmp_path / "pipe")
    source = write(tmp_path / "source", content())
    with pytest.raises(UsageError, match="pipe is no file"):
        kubeconfig.merge(tmp_path / "pipe", source, make_current=True)
    assert (tmp_path / "pipe").is_fifo()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "source"}


def test_links_that_lead_in_a_circle_are_no_kubeconfig(monkeypatch, tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    source = write(tmp_path / "source", content())
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "circle"))
    own = kubeconfig.learners_own()
    assert own == tmp_path / "circle"
    with pytest.raises(UsageError, match="circle is no file"):
        kubeconfig.merge(own, source, make_current=True)
    assert (tmp_path / "circle").is_symlink()


def test_what_no_context_can_be_written_to_is_known_before(monkeypatch, tmp_path):
    (tmp_path / "broken").write_text("a: [")
    with pytest.raises(UsageError, match="broken is not valid"):
        kubeconfig.mergeable(tmp_path / "broken")
    with pytest.raises(UsageError, match="too long"):
        kubeconfig.mergeable(tmp_path / ("x" * 300))
    assert kubeconfig.mergeable(tmp_path / "new" / "config") == tmp_path / "new" / "config"
    monkeypatch.setattr(os, "access", lambda path, _mode: path != tmp_path)
    with pytest.raises(UsageError, match=f"{tmp_path}: you may not write there"):
        kubeconfig.mergeable(tmp_path / "new" / "config")
    assert not (tmp_path / "new").exists()

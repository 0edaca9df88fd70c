import base64
import json
import stat

import pytest
import yaml

from k8slab import programs
from k8slab.clusters import kubeconfig
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
    source = write(tmp_path / "source", content("lab", user={"token": "new"}))
    assert kubeconfig.merge(target, source, make_current=False) == "lab"
    kubeconfig.merge(target, source, make_current=False)
    merged = kubeconfig.load(target)
    assert merged["current-context"] == "mine"
    assert [entry["name"] for entry in merged["contexts"]] == ["mine", "lab"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_merging_into_nothing_makes_the_file(tmp_path):
    source = write(tmp_path / "source", content("lab"))
    target = tmp_path / "new" / "config"
    kubeconfig.merge(target, source, make_current=True)
    assert kubeconfig.load(target)["current-context"] == "lab"
    assert [entry.name for entry in target.parent.iterdir()] == ["config"]


def test_the_learners_file_is_the_first_of_kubeconfig(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/a:{tmp_path}/b")
    assert kubeconfig.learners_file() == tmp_path / "a"
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kubeconfig.learners_file() == tmp_path / ".kube" / "config"

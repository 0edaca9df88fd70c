import sys
from pathlib import Path

import pytest

from k8slab import audit
from k8slab.objects import manifests

sys.path.insert(0, str(Path(__file__).parent))  # for `audit_kit`


@pytest.fixture
def findings():
    """Audit a text and return its findings by check."""

    def run(*texts, rules=None, today=None):
        report = audit.audit(manifests.load_text("".join(texts), "a.yaml"), rules, today=today)
        found = {}
        for finding in report.findings:
            found.setdefault(finding.check.name, []).append(finding)
        return found

    return run


@pytest.fixture
def traps():
    """Lint a text and return its findings by check."""

    def run(*texts):
        found = audit.lint(manifests.load_text("".join(texts), "a.yaml"))
        return {finding.check.name: finding for finding in found}

    return run

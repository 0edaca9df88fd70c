"""What an answer may do so that its exercise need not be set up anew."""

import pytest

from k8slab.course.mutants.stage import Stage


@pytest.mark.parametrize(
    ("document", "unclear"),
    [
        ({"kind": "NetworkPolicy"}, False),
        ({"kind": "EndpointSlice"}, False),
        ({"kind": "Endpoints"}, True),
        ({"answers": {"colour": "red"}}, False),
        ({"kubectl": ["label pod web tier=back"]}, False),
        ({"kubectl": ["annotate networkpolicy --all owner=ada"]}, False),
        ({"kubectl": ["set selector service web app=web"]}, False),
        ({"kubectl": ["rollout restart deployment dns"]}, False),
        ({"kubectl": ["patch deployment/dns --patch {}"]}, False),
        ({"kubectl": ["set"]}, True),
        ({"kubectl": ["label node worker tier=back"]}, True),
        ({"kubectl": ["exec web -- touch /tmp/x"]}, True),
        ({"kubectl": ["delete pod web", "create secret generic key"]}, True),
    ],
)
def test_a_set_up_is_made_anew_after_what_is_not_compared(document, unclear):
    stage = Stage(None, None, None, None)
    stage.touched((document,))
    assert stage._unclear is unclear

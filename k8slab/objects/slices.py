"""EndpointSlices: their resource, and the label by which one belongs to a Service.

Source: ``LabelServiceName`` of the API group ``discovery.k8s.io/v1`` (KEP-752).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.objects.meta import labels_of

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

SLICES = "endpointslices.discovery.k8s.io"
SERVICE_NAME = "kubernetes.io/service-name"


def is_ready(endpoint: Object) -> bool:
    """Say whether an endpoint takes connections; unknown counts as true (EndpointConditions)."""
    return (endpoint.get("conditions") or {}).get("ready") is not False


def service_of(slice_object: Object) -> str:
    """Return the name of the Service that a slice belongs to; empty where it belongs to none."""
    return labels_of(slice_object).get(SERVICE_NAME) or ""

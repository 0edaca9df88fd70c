import pytest

from k8slab.objects import manifests
from k8slab.testing.fake import FakeCluster

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080, name: http}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080, name: http}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: batch, namespace: shop, labels: {app: batch}}
spec: {containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080, name: http}]}]}
"""


@pytest.fixture
def shop():
    cluster = FakeCluster()
    cluster.apply(manifests.load(SHOP))
    return cluster

"""A valid object of every served kind, small, and rich where the kind's rules are."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

_LABELS = {"app": "odd"}
_POD_SPEC: Object = {
    "containers": [
        {
            "name": "main",
            "image": "k8slab/app",
            "ports": [{"name": "http", "containerPort": 8080}],
            "env": [{"name": "A", "value": "b"}],
            "resources": {"requests": {"cpu": "1m"}, "limits": {"memory": "1Mi"}},
            "readinessProbe": {"tcpSocket": {"port": 8080}},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
    ],
    "volumes": [{"name": "data", "emptyDir": {}}],
}
_TEMPLATE: Object = {"metadata": {"labels": _LABELS}, "spec": _POD_SPEC}
_WORKLOAD: Object = {"selector": {"matchLabels": _LABELS}, "template": _TEMPLATE, "replicas": 0}
_JOB: Object = {
    "suspend": True,
    "template": {"spec": {**_POD_SPEC, "restartPolicy": "Never"}},
}
_ROLE = {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}
_BINDING = {
    "roleRef": {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"},
    "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "malformed"}],
}
_ASKED = {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "malformed"}}

EXAMPLES: dict[str, Object] = {
    "configmaps": {"data": {"a": "b"}, "binaryData": {"c": "AAEC"}},
    "endpoints": {"subsets": [{"addresses": [{"ip": "203.0.113.9"}], "ports": [{"port": 80}]}]},
    "events": {"involvedObject": {"kind": "Pod", "name": "x", "namespace": "malformed"}},
    "namespaces": {},
    "nodes": {"spec": {"unschedulable": True}},
    "persistentvolumeclaims": {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
            "storageClassName": "none",
        }
    },
    "persistentvolumes": {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Mi"},
            "hostPath": {"path": "/tmp"},
        }
    },
    "pods": {"spec": {**_POD_SPEC, "nodeSelector": {"no": "such-node"}}},
    "podtemplates": {"template": _TEMPLATE},
    "replicationcontrollers": {"spec": {"replicas": 0, "selector": _LABELS, "template": _TEMPLATE}},
    "secrets": {"data": {"a": "AAEC"}, "stringData": {"b": "c"}},
    "serviceaccounts": {},
    "services": {
        "spec": {
            "selector": _LABELS,
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            "sessionAffinity": "ClientIP",
        }
    },
    # Nobody is asked: other requests would wait for these.
    **{
        f"{word}webhookconfigurations.admissionregistration.k8s.io": {
            "webhooks": [
                {
                    "name": "odd.example.com",
                    "clientConfig": {"service": {"name": "x", "namespace": "malformed"}},
                    "rules": [
                        {
                            "operations": ["CONNECT"],
                            "apiGroups": ["none.example.com"],
                            "apiVersions": ["v1"],
                            "resources": ["odds"],
                        }
                    ],
                    "failurePolicy": "Ignore",
                    "objectSelector": {"matchLabels": {"no": "such-label"}},
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                }
            ]
        }
        for word in ("mutating", "validating")
    },
    "controllerrevisions.apps": {"revision": 1, "data": {"a": 1}},
    "daemonsets.apps": {
        "spec": {
            "selector": {"matchLabels": _LABELS},
            "template": {
                "metadata": {"labels": _LABELS},
                "spec": {**_POD_SPEC, "nodeSelector": {"no": "such-node"}},
            },
        }
    },
    "deployments.apps": {"spec": _WORKLOAD},
    "replicasets.apps": {"spec": _WORKLOAD},
    "statefulsets.apps": {"spec": {**_WORKLOAD, "serviceName": "odd"}},
    "cronjobs.batch": {
        "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": _JOB["template"]}}}
    },
    "jobs.batch": {"spec": _JOB},
    "leases.coordination.k8s.io": {
        "spec": {"holderIdentity": "me", "renewTime": "2026-01-01T00:00:00.000000Z"}
    },
    "endpointslices.discovery.k8s.io": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["203.0.113.9"], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": 80}],
    },
    "events.events.k8s.io": {
        "regarding": {"kind": "Pod", "name": "x", "namespace": "malformed"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/x",
        "reportingInstance": "x",
        "action": "Doing",
        "reason": "Because",
        "type": "Normal",
    },
    "ingressclasses.networking.k8s.io": {"spec": {"controller": "example.com/ingress"}},
    "ingresses.networking.k8s.io": {
        "spec": {
            "rules": [
                {
                    "host": "example.com",
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "x", "port": {"number": 80}}},
                            }
                        ]
                    },
                }
            ]
        }
    },
    "networkpolicies.networking.k8s.io": {
        "spec": {
            "podSelector": {"matchLabels": _LABELS},
            "ingress": [
                {
                    "from": [
                        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
                        {"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.8/32"]}},
                    ],
                    "ports": [{"port": 80, "endPort": 90}, {"port": "http", "protocol": "UDP"}],
                }
            ],
            "egress": [{}],
        }
    },
    "poddisruptionbudgets.policy": {
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"no": "such-pod"}}}
    },
    "clusternetworkpolicies.policy.networking.k8s.io": {
        "spec": {
            "tier": "Admin",
            "priority": 10,
            "subject": {"namespaces": {"matchLabels": {"no": "such-namespace"}}},
            "ingress": [
                {
                    "name": "one",
                    "action": "Accept",
                    "from": [{"namespaces": {"matchLabels": _LABELS}}],
                    "protocols": [{"tcp": {"destinationPort": {"number": 80}}}],
                }
            ],
            "egress": [{"action": "Deny", "to": [{"networks": ["203.0.113.0/24"]}]}],
        }
    },
    "clusterroles.rbac.authorization.k8s.io": _ROLE,
    "clusterrolebindings.rbac.authorization.k8s.io": _BINDING,
    "roles.rbac.authorization.k8s.io": _ROLE,
    "rolebindings.rbac.authorization.k8s.io": _BINDING,
    "priorityclasses.scheduling.k8s.io": {"value": 5},
    "storageclasses.storage.k8s.io": {"provisioner": "example.com/none"},
    "selfsubjectreviews.authentication.k8s.io": {},
    "tokenreviews.authentication.k8s.io": {"spec": {"token": "x"}},
    "localsubjectaccessreviews.authorization.k8s.io": {"spec": {**_ASKED, "user": "u"}},
    "selfsubjectaccessreviews.authorization.k8s.io": {"spec": _ASKED},
    "selfsubjectrulesreviews.authorization.k8s.io": {"spec": {"namespace": "malformed"}},
    "subjectaccessreviews.authorization.k8s.io": {"spec": {**_ASKED, "user": "u"}},
}

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
BOXES = "boxes.odd.example.com"


def definition(name: str = "boxes") -> Object:
    """Return a CustomResourceDefinition with every part that has rules."""
    kind = name.capitalize()[:-2]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{name}.odd.example.com"},
        "spec": {
            "group": "odd.example.com",
            "scope": "Namespaced",
            "names": {"plural": name, "singular": name[:-2], "kind": kind},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _BOX},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.size",
                            "statusReplicasPath": ".status.size",
                        },
                    },
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        {"name": "Made", "type": "date", "jsonPath": ".spec.made"},
                    ],
                    "selectableFields": [{"jsonPath": ".spec.color"}],
                }
            ],
        },
    }


_BOX: Object = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 0, "maximum": 9},
                "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                "made": {"type": "string", "format": "date-time"},
                "weight": {"type": "number", "multipleOf": 0.5},
                "code": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                "port": {"x-kubernetes-int-or-string": True},
                "tags": {
                    "type": "array",
                    "maxItems": 3,
                    "items": {"type": "string"},
                    "x-kubernetes-list-type": "set",
                },
                "parts": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "count": {"type": "integer", "default": 1},
                        },
                    },
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                },
                "notes": {"type": "object", "additionalProperties": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "either": {
                    "type": "object",
                    "nullable": True,
                    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                    "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
                },
            },
        },
        "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
    },
}

EXAMPLES[DEFINITIONS] = {"spec": definition()["spec"]}
EXAMPLES[BOXES] = {"spec": {"size": 3, "parts": [{"name": "a"}], "tags": ["x"], "port": "http"}}

"""Everything that an audit looks for, as one table."""

from __future__ import annotations

from k8slab.audit.finding import Check, Severity

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_TABLE = (
    # What one object shows by itself.
    ("refused", _E, "The API refuses this object",
     "Whoever applies it gets an error, and what was there before stays in force.",
     "Correct the field; `kubectl explain` describes it."),
    ("not-understood", _E, "The audit cannot judge this policy",
     "A policy that is not understood is left out, so every other answer may be wrong.",
     "Correct it, or leave out what the engine does not know."),
    ("ignored-section", _W, "A section of rules is ignored",
     "policyTypes does not list its direction, so these rules do nothing.",
     "Add the direction to policyTypes, or remove the section."),
    ("two-peers-for-one", _N, "Two peers where one may be meant",
     ("Entries of a list are joined by or: this admits all pods of the selected namespaces, and "
     "besides them the selected pods of the policy's own namespace."),
     ("If pods within those namespaces are meant, write podSelector under the same dash as "
     "namespaceSelector.")),
    ("whole-address-space", _W, "A rule admits every address",
     "0.0.0.0/0 or ::/0 is everybody: with most network plugins also every pod of the cluster.",
     "Name the ranges that are needed, or leave out your own networks by except."),
    ("everybody", _W, "A rule admits everybody on every port",
     "The policy isolates its pods and then admits all: it is as if it were not there.",
     "Name the peers and the ports that are needed."),
    ("dns-to-everybody", _W, "DNS is allowed to every address",
     "A rule for port 53 without peers also lets data out to any name server in the world.",
     ("Name the DNS pods: namespaceSelector kubernetes.io/metadata.name=kube-system with "
     "podSelector k8s-app=kube-dns.")),
    ("dns-one-protocol", _W, "DNS is allowed by one protocol only",
     ("DNS asks by UDP, and again by TCP when the answer is long (RFC 7766): some names resolve "
     "and others do not."),
     "Allow port 53 for UDP and for TCP."),
    ("host-bits", _N, "An address range has host bits",
     "10.0.0.5/8 means 10.0.0.0/8, which is more than it looks like.",
     "Write the network's first address, or /32 (/128) for one host."),
    ("defined-twice", _W, "An object stands twice",
     "Applied together the later one wins, and the earlier one says what is not true.",
     "Keep one."),
    # What the policies of an estate show together.
    ("selects-nothing", _W, "A policy selects no pod",
     "It protects nobody; often a label was renamed or misspelt.",
     "Compare podSelector with the labels of the pods in this namespace."),
    ("no-policy", _W, "Pods that no policy covers",
     "Everybody may reach them, from inside and outside the cluster.",
     "Add a default deny to the namespace, then allow what is needed."),
    ("no-default-deny", _W, "A namespace without default deny",
     "A pod that no policy selects, such as tomorrow's, is open.",
     "Add a policy with podSelector {} that lists the direction and has no rule."),
    ("never-matches", _W, "A rule that matches nobody",
     "Nothing in this estate is meant by its peers: what it should allow is denied.",
     "Compare its selectors with the labels of pods and namespaces."),
    ("unknown-namespace-label", _W, "A namespaceSelector that no namespace fulfils",
     "No namespace has these labels, so the peer means nobody.",
     "Label the namespace, or use kubernetes.io/metadata.name, which every namespace has."),
    ("unknown-named-port", _W, "A named port that no destination has",
     "A name is looked up on each destination pod: where none has it, the rule matches nothing.",
     "Name the port in the container, or write its number."),
    ("service-port", _E, "A Service's port where the pod's is meant",
     ("Policies are decided after the Service's address is translated: they see the port of the "
     "pod (targetPort), so this rule does not admit what comes through the Service."),
     "Write the targetPort."),
    ("nobody-listens", _N, "A rule admits ports on which nobody listens",
     "No selected destination declares these ports: what starts to listen there is open.",
     "Remove the ports, or declare them in the container."),
    ("all-ports", _N, "A rule admits all ports where few are used",
     "Every port that is opened later is open for these peers.",
     "List the ports that the workloads declare."),
    ("shadowed", _N, "A rule is covered by another one",
     "It changes nothing, and whoever removes it to close something will be surprised.",
     "Remove it, or the wider one."),
    ("duplicate", _W, "Two policies say the same",
     "Changing one of them changes nothing as long as the other is there.",
     "Keep one."),
    ("dns-denied", _E, "Pods that may not ask DNS",
     "Their egress is isolated and no rule lets them reach the cluster's DNS: no name resolves.",
     "Allow port 53, UDP and TCP, to the pods of kube-dns."),
    # Policies and what they protect, grown apart.
    ("service-unreachable", _E, "A Service that no peer may use",
     "The policies of its pods admit nobody on the port that it leads to.",
     "Admit its clients on the target port, or remove the Service."),
    ("service-selects-nothing", _W, "A Service without pods",
     "Its selector matches no pod, so every connection is refused.",
     "Compare the selector with the labels of the pods."),
    ("service-port-nowhere", _N, "A Service's target port that no pod declares",
     ("Where the port is a name, the Service leads nowhere; where it is a number, nobody may be "
     "listening."),
     "Declare the port in the container, or correct targetPort."),
    # What the user's own rules ask for.
    ("annotation-missing", _W, "A required annotation is missing",
     "The rule file asks for it.",
     "Add the annotation to the policy."),
    ("annotation-wrong", _W, "An annotation does not say what is required",
     "The rule file says what its value must be.",
     "Correct the value."),
    ("annotation-old", _W, "A review is too long ago",
     "The rule file says how old the date may be.",
     "Review the policy, then write the new date."),
    ("suppression-expired", _W, "A suppression has expired",
     "What it hid is shown again.",
     "Mend what it hid, or give a new reason and date."),
    ("suppression-unused", _N, "A suppression hides nothing",
     "What it was for is mended, or its subject is written differently.",
     "Remove it."),
)  # fmt: skip

CHECKS = {row[0]: Check(*row) for row in _TABLE}
"""By name, in the order in which reports explain them."""

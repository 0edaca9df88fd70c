"""The small world that most cases of policies are told in."""

WORLD = """
- {kind: Namespace, metadata: {name: shop, labels: {team: a}}}
- {kind: Namespace, metadata: {name: other, labels: {team: b}}}
- {kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 172.18.0.2}]}}
- {kind: Node, metadata: {name: n2}, status: {addresses: [{type: InternalIP, address: 172.18.0.3}]}}
- kind: Pod
  metadata: {name: web, namespace: shop, labels: {app: web, tier: front}}
  spec: {nodeName: n1, containers: [{ports: [{name: http, containerPort: 80}]}]}
  status: {podIP: 10.244.0.1, conditions: [{type: Ready, status: "True"}]}
- kind: Pod
  metadata: {name: db, namespace: shop, labels: {app: db}}
  spec: {nodeName: n2, containers: [{ports: [{name: http, containerPort: 8080},
         {name: dns, containerPort: 53, protocol: UDP}]}]}
  status: {podIP: 10.244.0.2, conditions: [{type: Ready, status: "True"}]}
- kind: Pod
  metadata: {name: bare, namespace: shop}
  spec: {nodeName: n1, containers: [{}]}
  status: {podIP: 10.244.0.3, conditions: [{type: Ready, status: "False"}]}
- kind: Pod
  metadata: {name: web, namespace: other, labels: {app: web}}
  spec: {nodeName: n1, containers: [{}]}
  status: {podIP: 10.244.1.1, conditions: [{type: Ready, status: "True"}]}
- kind: Pod
  metadata: {name: host, namespace: shop, labels: {app: web}}
  spec: {nodeName: n1, hostNetwork: true, containers: [{}]}
  status: {podIP: 172.18.0.2, conditions: [{type: Ready, status: "True"}]}
- kind: Service
  metadata: {name: db, namespace: shop}
  spec: {selector: {app: db}, ports: [{port: 80, targetPort: http}]}
- kind: Service
  metadata: {name: nobody, namespace: shop}
  spec: {selector: {app: nobody}, ports: [{port: 80}]}
"""

"""The requests that leave HTTP behind: exec, attach, port-forward; and logs.

    kubectl, Python client
       |  WebSocket (v5, v4.channel.k8s.io)      SPDY/3.1 (v4.channel.k8s.io)
    websocket.py                              spdy.py, session.py
       `----------------- remotecommand.py ---------'      one command, whatever carries it
       `----------------- portforward.py -----------'      one TCP connection a stream pair

`spdy.py` does no input or output. Sources: the SPDY/3.1 draft, RFC 6455, KEP-4006
(from SPDY to WebSockets) and the constants of apimachinery ``remotecommand`` and
``portforward``.
"""

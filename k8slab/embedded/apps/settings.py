"""The command lines of the `web` app, in its own style and in those of other images.

``--mode`` chooses: ``web`` (default), ``agnhost``, ``nginx``, ``httpd``, ``http-echo``,
``whoami``. What an option is not given for may come from the environment.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from k8slab.embedded.apps import imitations
from k8slab.embedded.apps.admission import AdmissionWebhook
from k8slab.embedded.apps.identity import Identity
from k8slab.embedded.apps.logs import combined_log, log_line
from k8slab.embedded.apps.options import parse, port_number
from k8slab.embedded.apps.pages import WebPages
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from k8slab.embedded.apps.http import Handler, Log


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to listen on and how to answer."""

    handler: Handler
    http_ports: tuple[int, ...] = ()
    tls_ports: tuple[int, ...] = ()
    udp_ports: tuple[int, ...] = ()
    tcp_ports: tuple[int, ...] = ()
    certificate: tuple[str, str] = ("", "")
    """Files of the certificate chain and its key, PEM."""
    log: Log = log_line


def read_settings(argv: list[str], environment: Mapping[str, str]) -> Settings | None:
    """Understand the command line; ``None`` means to pause. Raises `UsageError`."""
    mode, rest = _mode(argv, environment)
    if mode not in _READERS:
        raise UsageError(f"web: unknown mode {mode}", hint=f"It knows {', '.join(_READERS)}.")
    return _READERS[mode](rest, environment)


def _mode(argv: list[str], environment: Mapping[str, str]) -> tuple[str, list[str]]:
    if argv and argv[0].startswith("--mode="):
        return argv[0].removeprefix("--mode="), argv[1:]
    if len(argv) > 1 and argv[0] == "--mode":
        return argv[1], argv[2:]
    return environment.get("MODE", "web"), argv


def _web(argv: list[str], environment: Mapping[str, str]) -> Settings:
    known = dict.fromkeys(("port", "tls", "udp", "tcp", "cert", "key", "host"), True)
    values, rest = parse(argv, known, program="web")
    if rest:
        raise UsageError(f"web: unexpected argument {rest[0]}")
    http = _ports("port", values, environment)
    certificate = (_last(values, "cert", environment), _last(values, "key", environment))
    tls = _ports("tls", values, environment)
    if tls and not all(certificate):
        raise UsageError("web: --tls needs --cert and --key, PEM files")
    others = tls + _ports("udp", values, environment) + _ports("tcp", values, environment)
    return Settings(
        handler=WebPages(Identity.of(environment), environment, values.get("host", [])),
        http_ports=http or (() if others else (8080,)),
        tls_ports=tls,
        udp_ports=_ports("udp", values, environment),
        tcp_ports=_ports("tcp", values, environment),
        certificate=certificate,
    )


def _ports(
    option: str, values: Mapping[str, list[str]], environment: Mapping[str, str]
) -> tuple[int, ...]:
    """Read ``--port 80 --port 81``, ``--port 80,81``, else PORT or PORTS of the environment."""
    variable = "PORT" if option == "port" else f"{option.upper()}_PORT"
    given = values.get(option) or [environment.get(variable) or environment.get(f"{variable}S", "")]
    words = [word.strip() for text in given for word in text.split(",") if word.strip()]
    return tuple(
        dict.fromkeys(port_number(word, program="web", option=f"--{option}") for word in words)
    )


def _last(values: Mapping[str, list[str]], option: str, environment: Mapping[str, str]) -> str:
    return values.get(option, [environment.get(f"TLS_{option.upper()}", "")])[-1]


_NETEXEC = ("http-port", "udp-port", "sctp-port", "tls-cert-file", "tls-private-key-file")


def _agnhost(argv: list[str], environment: Mapping[str, str]) -> Settings | None:
    command, *rest = argv or ["pause"]
    if command == "pause":
        return None
    if command == "netexec":
        known = {**dict.fromkeys(_NETEXEC, True), "delay-shutdown": True}
        values, _ = parse(rest, known, program="agnhost netexec")
        ports = {
            name: port_number(values.get(name, [default])[-1], program="agnhost", option=name)
            for name, default in (("http-port", "8080"), ("udp-port", "8081"))
        }
        return Settings(
            handler=WebPages(Identity.of(environment), environment),
            http_ports=(ports["http-port"],),
            udp_ports=(ports["udp-port"],),
        )
    if command == "serve-hostname":
        known = {"port": True, "http": False, "tcp": False, "udp": False, "close": False}
        values, _ = parse(rest, known, program="agnhost serve-hostname")
        port = port_number(values.get("port", ["9376"])[-1], program="agnhost", option="--port")
        return Settings(handler=imitations.hostname_only, http_ports=(port,))
    if command == "webhook":
        return _webhook(rest)
    raise UsageError(
        f"agnhost: {command} is not part of the imitation",
        hint="It knows netexec, serve-hostname, webhook and pause.",
    )


def _webhook(argv: list[str]) -> Settings:
    files = ("tls-cert-file", "tls-private-key-file")
    known = dict.fromkeys((*files, "port", "sidecar-image"), True)
    values, _ = parse(argv, known, program="agnhost webhook")
    certificate, key = (values.get(name, [""])[-1] for name in files)
    if not (certificate and key):
        raise UsageError(f"agnhost webhook: needs --{files[0]} and --{files[1]}, PEM files")
    port = port_number(values.get("port", ["443"])[-1], program="agnhost", option="--port")
    return Settings(
        handler=AdmissionWebhook(values.get("sidecar-image", [""])[-1]),
        tls_ports=(port,),
        certificate=(certificate, key),
    )


def _files(argv: list[str], environment: Mapping[str, str], *, program: str) -> Settings:
    values, _ = parse(argv, {"port": True, "g": True, "c": True}, program=program)
    root, page, server = {
        "nginx": ("/usr/share/nginx/html", imitations.NGINX_PAGE, "nginx"),
        "httpd": ("/usr/local/apache2/htdocs", imitations.HTTPD_PAGE, "Apache"),
    }[program]
    return Settings(
        handler=imitations.Files(root, page, server),
        http_ports=_ports("port", values, environment) or (80,),
        log=combined_log,
    )


def _http_echo(argv: list[str], environment: Mapping[str, str]) -> Settings:
    values, _ = parse(
        argv, {"text": True, "listen": True, "status-code": True}, program="http-echo"
    )
    message = values.get("text", [environment.get("ECHO_TEXT", "hello-world")])[-1]
    port = port_number(values.get("listen", [":5678"])[-1], program="http-echo", option="-listen")
    return Settings(handler=partial(imitations.http_echo, message=message), http_ports=(port,))


def _whoami(argv: list[str], environment: Mapping[str, str]) -> Settings:
    values, _ = parse(argv, {"port": True, "name": True, "verbose": False}, program="whoami")
    number = values.get("port", [environment.get("WHOAMI_PORT_NUMBER", "80")])[-1]
    name = values.get("name", [environment.get("WHOAMI_NAME", "")])[-1]
    handler = partial(imitations.whoami, hostname=socket.gethostname(), name=name)
    return Settings(
        handler=handler, http_ports=(port_number(number, program="whoami", option="--port"),)
    )


_READERS: dict[str, Callable[[list[str], Mapping[str, str]], Settings | None]] = {
    "web": _web,
    "agnhost": _agnhost,
    "nginx": partial(_files, program="nginx"),
    "httpd": partial(_files, program="httpd"),
    "http-echo": _http_echo,
    "whoami": _whoami,
}

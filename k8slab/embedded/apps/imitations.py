"""What well-known test images answer, and which ports and options they have.

Each imitation keeps the part that networking exercises look at: the port, the page, the
options on the command line. Sources: the images' own documentation (agnhost netexec,
hashicorp/http-echo, traefik/whoami, nginx, httpd).
"""

from __future__ import annotations

import socket
from pathlib import Path

from k8slab.embedded.apps.messages import Request, Response, text
from k8slab.embedded.apps.sockets import written

MAX_FILE = 4 * 1024 * 1024

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "application/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain",
}

NGINX_PAGE = """<!DOCTYPE html>
<html>
<head><title>Welcome to nginx!</title></head>
<body>
<h1>Welcome to nginx!</h1>
<p>This page is served by k8slab in place of nginx.</p>
</body>
</html>
"""
HTTPD_PAGE = "<html><body><h1>It works!</h1></body></html>\n"


class Files:
    """A web server's document root: files if the directory is there, else one page."""

    def __init__(self, root: str, page: str, server: str) -> None:
        self.root = Path(root)
        self.page = page
        self.server = server

    def __call__(self, request: Request) -> Response:
        """Answer GET and HEAD with a file, its directory's index.html, or 404."""
        headers = (("Server", self.server),)
        if request.method not in ("GET", "HEAD"):
            return _html(405, "405 Not Allowed", headers)
        found = self._file(request.path)
        if found is None:
            if request.path in ("/", "/index.html") and not (self.root / "index.html").exists():
                return Response(body=self.page.encode(), content_type="text/html", headers=headers)
            return _html(404, "404 Not Found", headers)
        kind = _TYPES.get(found.suffix, "application/octet-stream")
        with found.open("rb") as file:
            return Response(body=file.read(MAX_FILE), content_type=kind, headers=headers)

    def _file(self, path: str) -> Path | None:
        if "\0" in path or ".." in path.split("/"):
            return None
        found = self.root / path.lstrip("/")
        if found.is_dir():
            found /= "index.html"
        return found if found.is_file() else None


def _html(status: int, title: str, headers: tuple[tuple[str, str], ...]) -> Response:
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Response(status=status, body=page.encode(), content_type="text/html", headers=headers)


def whoami(request: Request, *, hostname: str, name: str = "") -> Response:
    """Answer as traefik/whoami does: host, addresses, and the request as it arrived."""
    lines = [f"Name: {name}"] if name else []
    lines += [f"Hostname: {hostname}", "IP: 127.0.0.1", f"IP: {request.server[0]}"]
    lines += [f"RemoteAddr: {written(request.client)}"]
    lines += [f"{request.method} {request.target} {request.version}"]
    lines += [f"{key}: {value}" for key, value in request.headers]
    return text("\n".join(lines) + "\n")


def http_echo(request: Request, *, message: str) -> Response:
    """Answer as hashicorp/http-echo does: always the same text; ``/health`` says ok."""
    if request.path == "/health":
        return Response(body=b'{"status":"ok"}\n', content_type="application/json")
    return text(message)


def hostname_only(_request: Request) -> Response:
    """Answer as agnhost serve-hostname does."""
    return text(socket.gethostname())

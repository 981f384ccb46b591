"""Who may read the page: which hosts and origins are answered, with which headers, and what files there are.

A page on another site can make a browser connect to this machine. Two checks stop it from reading: the
``Host`` header must be a name of this machine (against names that are made to point here, "DNS
rebinding"), and a WebSocket's ``Origin`` must be this page itself.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from importlib.resources import files

__all__ = ["HEADERS", "Guard", "read_static"]

_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(:[0-9]{1,5})?")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Sent with every answer."""


class Guard:
    """Decides whose requests are answered.

    Args:
        host: Name or address the server was told to listen on.
        address: Address it listens on.
    """

    def __init__(self, host: str, address: str) -> None:
        self.is_local = ipaddress.ip_address(address.partition("%")[0]).is_loopback
        name = socket.gethostname().lower()
        self._names = {"localhost", host.lower()}
        if not self.is_local:
            self._names |= {name, f"{name}.local"}

    def knows(self, host: str) -> bool:
        """Whether a ``Host`` header names this machine. Ports are free: a tunnel may have another one.

        An address in numbers cannot be made to point elsewhere, but a server on loopback is reached by
        loopback addresses only.
        """
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].lower().strip("[]")
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self.is_local

    @staticmethod
    def same_origin(origin: str, host: str) -> bool:
        """Whether an ``Origin`` header is the page that was reached under ``host``."""
        return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def read_static() -> dict[str, tuple[str, bytes]]:
    """Return type and content of each file by its path; no other path is answered."""
    out = {}
    for entry in files("mimamba_edge").joinpath("stream", "sinks", "page", "static").iterdir():
        kind = _TYPES.get(entry.name[entry.name.rfind(".") :])
        if kind is not None:
            out["/" + entry.name] = (kind, entry.read_bytes())
    out["/"] = out["/index.html"]
    return out

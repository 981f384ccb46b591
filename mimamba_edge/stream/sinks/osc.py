"""Decisions as OSC messages over UDP, for Max, TouchDesigner, SuperCollider, Unity.

One bundle a decision, in one datagram, so that its messages cannot be told apart from one another in time:

======================  ====  ===================================================
``/mimamba/decision``   s     class decided on; empty for no decision
``/mimamba/valid``      i     1, or 0 for no decision
``/mimamba/reason``     s     why not; empty for a decision
``/mimamba/t_s``        f     end of the window in seconds from the first sample
``/mimamba/probs/CLASS``  f   probability of each class; none for no decision
======================  ====  ===================================================

With several streams the addresses are ``/mimamba/STREAM/decision`` and so on. Only the types that every
receiver knows (int32, float32, string) are used.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Sequence
from typing import Any

from mimamba_edge.console import printable, show_warning
from mimamba_edge.errors import ConfigError, DependencyError, pip_install
from mimamba_edge.naming import distinct
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.sinks.base import Sink, StreamInfo
from mimamba_edge.stream.sinks.names import stream_names

__all__ = ["Osc", "address_part", "open_spec"]

_ROOT = "/mimamba"
_RETRY_S = 10.0
_TARGET = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")


def open_spec(rest: str) -> Sink:
    """Open ``osc:HOST:PORT``; an IPv6 address stands in brackets.

    Raises:
        ConfigError: It is no host and port.
        DependencyError: python-osc is not installed.
    """
    found = _TARGET.fullmatch(rest)
    port = int(found["port"]) if found else 0
    if found is None or not 0 < port < 65536:
        raise ConfigError(
            "osc: needs a host and a port", got=f"osc:{printable(rest)}", expected="osc:192.168.0.7:9000"
        )
    return Osc(found["v6"] or found["host"], port)


def address_part(name: str) -> str:
    """Return a name as a part of an OSC address.

    Characters that OSC 1.0 gives a meaning (``# * , / ? [ ] { }`` and the space), all beyond ASCII and those
    that do not print become ``_``.
    """
    return re.sub(r"[^!-~]|[#*,/?\[\]{}]", "_", name)[:64] or "_"


class Osc(Sink):
    """Sends decisions to a host. One that cannot be reached is told once and tried again.

    Args:
        host: Name or address.
        port: Its UDP port.

    Raises:
        DependencyError: python-osc is not installed.
    """

    def __init__(self, host: str, port: int) -> None:
        try:
            from pythonosc import osc_bundle_builder, osc_message_builder
        except ImportError as error:
            raise DependencyError("osc: needs the package python-osc", do=pip_install("live")) from error
        shown = f"[{host}]" if ":" in host else host
        self.name = f"osc:{printable(shown)}:{port}"
        self._bundles, self._messages = osc_bundle_builder, osc_message_builder
        self._host, self._port = host, port
        self._socket: socket.socket | None = None
        self._next_try = 0.0
        self._told = False
        self._speakers: dict[str | None, tuple[str, dict[str, str]]] = {}

    def begin(self, streams: Sequence[StreamInfo]) -> None:
        """Give each stream its addresses."""
        for stream, part in zip(streams, stream_names(streams, address_part), strict=True):
            names = stream.contract.class_names
            classes = dict(zip(names, distinct(map(address_part, names)), strict=True))
            self._speakers[stream.name] = f"{_ROOT}/{part}", classes
        if len(streams) == 1:
            # Decisions of a stream that is alone do not name it.
            self._speakers = dict.fromkeys((None, streams[0].name), (_ROOT, classes))

    def decision(self, decision: Decision) -> None:
        """Send the bundle."""
        if not self._ready():
            return
        try:
            assert self._socket is not None
            self._socket.send(self._bundle(decision))
        except BlockingIOError:
            pass
        except OSError as error:
            self._failed(error)

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _bundle(self, decision: Decision) -> bytes:
        root, classes = self._speakers[decision.stream]
        values: list[tuple[str, str, Any]] = [
            ("decision", "s", printable(decision.label or "")),
            ("valid", "i", int(decision.valid)),
            ("reason", "s", decision.reason or ""),
            ("t_s", "f", decision.t_s),
        ]
        values += [(f"probs/{classes[name]}", "f", p) for name, p in (decision.probs or {}).items()]
        bundle = self._bundles.OscBundleBuilder(self._bundles.IMMEDIATELY)
        for part, kind, value in values:
            message = self._messages.OscMessageBuilder(f"{root}/{part}")
            message.add_arg(value, kind)
            bundle.add_content(message.build())
        return bytes(bundle.build().dgram)

    def _ready(self) -> bool:
        """Look the host up and open a socket to it, if there is none; not more often than is seemly."""
        if self._socket is not None:
            return True
        if time.monotonic() < self._next_try:
            return False
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, address = found[0]
            opened = socket.socket(family, kind, protocol)
            try:
                opened.setblocking(False)
                opened.connect(address)
            except OSError:
                opened.close()
                raise
        except OSError as error:
            self._failed(error)
            return False
        self._socket = opened
        return True

    def _failed(self, error: OSError) -> None:
        # A connected socket hears that nobody listens yet; the next datagram may find somebody.
        if isinstance(error, ConnectionRefusedError):
            return
        self.close()
        self._next_try = time.monotonic() + _RETRY_S
        if not self._told:
            self._told = True
            show_warning(
                f"{self.name} cannot be reached ({error.strerror}); the stream goes on and tries again"
            )

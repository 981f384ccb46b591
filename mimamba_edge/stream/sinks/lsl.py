"""Decisions as LSL streams, for LabRecorder, Unity, PsychoPy, MNE.

Two outlets a stream of decisions. With several streams their names stand between NAME and the ending.

``NAME``
    Type ``Markers``, one text channel, irregular: the class whenever it changes, or ``no decision: REASON``.
    Plain text and not JSON, because receivers compare markers with ``==`` and recorders show them as they
    are. OpenViBE's acquisition server takes integer markers only; use OSC there.
``NAME-probs``
    Type ``Probabilities``, float32, one channel for each class and a last one, ``valid`` (1 or 0), a sample a
    window; probabilities are NaN for no decision. Irregular, though windows come ``decisions_per_second``
    (in the description) apart: what reads a regular stream spreads its samples evenly (pyxdf, and LSL's
    dejittering), and one window that was dropped would shift all others.

Time stamps are LSL's clock when the decision was made. What it was decided on is older:
``algorithmic_delay_ms`` in the description says by how much.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mimamba_edge.console import printable
from mimamba_edge.errors import ConfigError, OutputError
from mimamba_edge.naming import distinct
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.sinks.base import Sink, StreamInfo
from mimamba_edge.stream.sinks.names import stream_names
from mimamba_edge.stream.sources.lsl_network import load_pylsl

__all__ = ["Lsl", "open_spec"]

NO_DECISION = "no decision"
_LONGEST_AGE_S = 5.0
"""A decision that seems to have waited longer for this sink met a step of the wall clock."""


def open_spec(rest: str) -> Sink:
    """Open ``lsl:NAME``.

    Raises:
        ConfigError: There is no name.
        DependencyError: pylsl or its library is not installed.
    """
    if not rest or rest != printable(rest):
        raise ConfigError(
            "lsl: needs a name for the outlet", got=f"lsl:{printable(rest)}", expected="lsl:NAME"
        )
    return Lsl(rest)


@dataclass
class _Outlets:
    """Of one stream: its outlets, its classes, and the marker that stands."""

    markers: Any
    probs: Any
    classes: tuple[str, ...]
    marker: str | None = None


class Lsl(Sink):
    """Publishes decisions on the local network under a name.

    Args:
        name: Of the marker stream; the other's is ``NAME-probs``.

    Raises:
        DependencyError: pylsl or its library is not installed.
    """

    def __init__(self, name: str) -> None:
        self.name = f"lsl:{name}"
        self._title = name
        self._lsl = load_pylsl()
        self._outlets: dict[str | None, _Outlets] = {}

    def begin(self, streams: Sequence[StreamInfo]) -> None:
        """Open the outlets.

        Raises:
            OutputError: LSL refuses.
        """
        alone = len(streams) == 1
        for stream, name in zip(streams, stream_names(streams, printable), strict=True):
            title = self._title if alone else f"{self._title}-{name}"
            try:
                opened = self._open(stream, title)
            except (RuntimeError, ValueError) as error:
                raise OutputError(f"LSL did not accept the outlet {printable(title)}", got=error) from error
            self._outlets[stream.name] = opened
            if alone:
                # Decisions of a stream that is alone do not name it.
                self._outlets[None] = opened

    def decision(self, decision: Decision) -> None:
        """Push the probabilities, and the marker if it is another than the one before."""
        to = self._outlets[decision.stream]
        stamp = self._stamp(decision)
        probs = decision.probs or {}
        values = [probs.get(name, float("nan")) for name in to.classes]
        to.probs.push_sample([*values, float(decision.valid)], stamp)
        marker = printable(decision.label if decision.valid else f"{NO_DECISION}: {decision.reason}")
        if marker != to.marker:
            to.markers.push_sample([marker], stamp)
            to.marker = marker

    def close(self) -> None:
        """Take the outlets off the network."""
        self._outlets.clear()

    def _stamp(self, decision: Decision) -> float:
        """Return LSL's time of the decision, which may have waited for this sink."""
        now = float(self._lsl.local_clock())
        if decision.t_unix is None:
            return now
        age = time.time() - (decision.t_unix + 1e-3 * decision.latency_ms)
        return now - age if 0 <= age <= _LONGEST_AGE_S else now

    def _open(self, stream: StreamInfo, title: str) -> _Outlets:
        classes = stream.contract.class_names
        markers = self._info(stream, title, "Markers", ["marker"], "string", "")
        labels = distinct(map(printable, [*classes, "valid"]))
        probs = self._info(stream, f"{title}-probs", "Probabilities", labels, "float32", "probability")
        return _Outlets(self._lsl.StreamOutlet(markers), self._lsl.StreamOutlet(probs), classes)

    def _info(
        self, stream: StreamInfo, title: str, kind: str, labels: Sequence[str], number: str, unit: str
    ) -> Any:
        """Describe an outlet, channels as the XDF specification has them."""
        # The same after a restart, so that inlets find the stream again; another where its channels differ.
        own = "\n".join((platform.node(), title, kind, *labels)).encode()
        info = self._lsl.StreamInfo(
            title,
            kind,
            len(labels),
            self._lsl.IRREGULAR_RATE,
            number,
            f"mimamba-edge-{hashlib.sha256(own).hexdigest()[:16]}",
        )
        channels = info.desc().append_child("channels")
        for label in labels:
            channel = channels.append_child("channel")
            channel.append_child_value("label", label)
            channel.append_child_value("type", kind)
            if unit:
                channel.append_child_value("unit", "flag" if label == labels[-1] else unit)
        contract = stream.contract
        about = info.desc().append_child("mimamba")
        for key, value in (
            ("model", printable(stream.model)),
            ("model_sha256", stream.model_sha256),
            ("decisions_per_second", f"{contract.sfreq / contract.hop:g}"),
            ("window_s", f"{contract.window_s:g}"),
            ("algorithmic_delay_ms", f"{stream.algorithmic_delay_ms:g}"),
        ):
            about.append_child_value(key, value)
        return info

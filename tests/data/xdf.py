"""Writes XDF 1.0 files from the specification alone: https://github.com/sccn/xdf/wiki/Specifications."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import numpy as np

_BOUNDARY = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")
_TYPES = {"double64": "<d", "float32": "<f", "int32": "<i", "int16": "<h"}


@dataclass
class Stream:
    """One stream; channels are (label, type, unit)."""

    name: str
    kind: str
    values: Sequence[Sequence[float]] | Sequence[str]
    times: Sequence[float]
    rate: float = 256.0
    form: str = "double64"
    channels: Sequence[tuple[str, str, str]] = ()
    offsets: Sequence[tuple[float, float]] = field(default_factory=list)

    @property
    def n_channels(self) -> int:
        return 1 if self.form == "string" else np.shape(self.values)[1]


def _length(n: int) -> bytes:
    if n < 256:
        return struct.pack("<BB", 1, n)
    return struct.pack("<BI", 4, n)


def _chunk(tag: int, content: bytes) -> bytes:
    return _length(len(content) + 2) + struct.pack("<H", tag) + content


def _header(stream: Stream) -> str:
    rows = "".join(
        f"<channel><label>{escape(label)}</label><type>{kind}</type><unit>{escape(unit)}</unit></channel>"
        for label, kind, unit in stream.channels
    )
    desc = f"<desc><channels>{rows}</channels></desc>" if rows else "<desc/>"
    return (
        f'<?xml version="1.0"?><info><name>{escape(stream.name)}</name><type>{escape(stream.kind)}</type>'
        f"<channel_count>{stream.n_channels}</channel_count><nominal_srate>{stream.rate:g}</nominal_srate>"
        f"<channel_format>{stream.form}</channel_format>{desc}</info>"
    )


def _samples(stream: Stream, start: int, stop: int) -> bytes:
    out = [_length(stop - start)]
    for i in range(start, stop):
        out.append(b"\x08" + struct.pack("<d", stream.times[i]))
        if stream.form == "string":
            text = str(stream.values[i]).encode()
            out.append(_length(len(text)) + text)
        else:
            out += [struct.pack(_TYPES[stream.form], value) for value in stream.values[i]]
    return b"".join(out)


def write_xdf(streams: Sequence[Stream], chunk: int = 128) -> bytes:
    """Return the bytes of a file; every stream's samples stand in chunks with boundaries between."""
    out = [b"XDF:", _chunk(1, b'<?xml version="1.0"?><info><version>1.0</version></info>')]
    for number, stream in enumerate(streams, start=1):
        out.append(_chunk(2, struct.pack("<I", number) + _header(stream).encode()))
    for number, stream in enumerate(streams, start=1):
        key = struct.pack("<I", number)
        for at, offset in stream.offsets:
            out.append(_chunk(4, key + struct.pack("<dd", at, offset)))
        for start in range(0, len(stream.times), chunk):
            stop = min(start + chunk, len(stream.times))
            out.append(_chunk(3, key + _samples(stream, start, stop)))
            out.append(_chunk(5, _BOUNDARY))
    for number, stream in enumerate(streams, start=1):
        footer = f'<?xml version="1.0"?><info><sample_count>{len(stream.times)}</sample_count></info>'
        out.append(_chunk(6, struct.pack("<I", number) + footer.encode()))
    return b"".join(out)

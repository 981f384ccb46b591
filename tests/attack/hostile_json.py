"""JSON that no reader may stumble over: contracts, manifests, profiles, session files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["DEEP", "DIGITS_400", "DIGITS_5001", "broken_texts", "contracts", "spoilt"]

DIGITS_400, DIGITS_5001 = "1" + "0" * 399, "9" * 5001
DEEP = "[" * 100_000
NUMBERS = {
    "digits-400": DIGITS_400,
    "digits-5001": DIGITS_5001,
    "inf": "1e400",
    "nan": "NaN",
    "1e300": "1e300",
    "tiny": "5e-324",
    "minus": "-1",
    "zero": "0",
    "true": "true",
    "half": "0.5",
}
OTHERS = {"text": '"x"', "null": "null", "list": "[]", "map": "{}", "nested": "[[1], {}]"}
_MARK = "@spoilt@"


def spoilt(good: Mapping[str, Any], where: str, text: str) -> str:
    """Return ``good`` as JSON, with the text of the value at ``where`` (``a.b``) replaced as it stands."""
    whole = json.loads(json.dumps(good))
    *above, last = where.split(".")
    held = whole
    for key in above:
        held = held.setdefault(key, {})
    held[last] = _MARK
    return json.dumps(whole).replace(f'"{_MARK}"', text)


def broken_texts() -> Iterator[tuple[str, bytes]]:
    """Yield what is no object of the kind looked for."""
    yield "empty", b""
    yield "text", b"hello"
    yield "nul", b"\0" * 1000
    yield "latin", "é".encode("latin-1")
    yield "utf16", "{}".encode("utf-16")
    yield "deep-lists", DEEP.encode()
    yield "deep-maps", b'{"a":' * 100_000
    yield "deep-whole", b"[" * 100_000 + b"]" * 100_000
    yield "list", b"[]"
    yield "number", DIGITS_400.encode()
    yield "long-number", DIGITS_5001.encode()
    yield "null", b"null"
    yield "surrogate", b'{"format": "\\ud800", "schema": "\\ud800", "manifest_format": "\\ud800"}'
    yield "key-5mb", b'{"' + b"k" * 5_000_000 + b'": 1}'
    yield "keys-100k", json.dumps({f"k{i}": i for i in range(100_000)}).encode()


def contracts(good: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield contracts as JSON, each with one field that cannot be."""
    for field in ("sfreq", "n_times", "hop", "temperature", "mains_hz", "contract_version"):
        for name, text in NUMBERS.items():
            yield f"{field}-{name}", spoilt(good, field, text)
    for field in ("ch_names", "class_names", "filters", "scaling", "ops", "model", "training", "reference"):
        for name, text in OTHERS.items():
            yield f"{field}-{name}", spoilt(good, field, text)
    names = {
        "number": "[1, 2, 3, 4]",
        "lists": '[["a"], ["b"], ["c"], ["d"]]',
        "same": '["A", "A", "A", "A"]',
        "escape": json.dumps(["\x1b[2J\x1b]0;x\x07", "b\r\n", "\u202ec", "d\0"]),
        "1mb": json.dumps(["x" * 1_000_000, "b", "c", "d"]),
        "100k": json.dumps([f"c{i}" for i in range(100_000)]),
        "surrogate": '["\\ud800", "b", "c", "d"]',
    }
    for field in ("ch_names", "class_names"):
        for name, text in names.items():
            yield f"{field}-{name}", spoilt(good, field, text)
    band = {"kind": "bandpass", "order": 4, "low_hz": 1.0, "high_hz": 20.0}
    notch = {"kind": "notch", "freq_hz": 10.0, "q": 30.0}
    filters = {
        "order-huge": spoilt(band, "order", "1000000"),
        "order-digits": spoilt(band, "order", DIGITS_400),
        "order-text": spoilt(band, "order", '"x"'),
        "high-1e300": spoilt(band, "high_hz", "1e300"),
        "high-digits": spoilt(band, "high_hz", DIGITS_400),
        "low-tiny": spoilt(band, "low_hz", "1e-300"),
        "low-nan": spoilt(band, "low_hz", "NaN"),
        "upside-down": spoilt(band, "low_hz", "25"),
        "q-zero": spoilt(notch, "q", "0"),
        "q-1e300": spoilt(notch, "q", "1e300"),
        "q-tiny": spoilt(notch, "q", "5e-324"),
        "q-digits": spoilt(notch, "q", DIGITS_400),
        "freq-1e300": spoilt(notch, "freq_hz", "1e300"),
        "kind": spoilt(notch, "kind", '"\\u001b[2J"'),
        "kind-list": spoilt(notch, "kind", "[]"),
    }
    for name, text in filters.items():
        yield f"filter-{name}", spoilt(good, "filters", f"[{text}]")
    yield "filters-20k", spoilt(good, "filters", "[" + ",".join([json.dumps(band)] * 20_000) + "]")
    for name, text in {
        "nan": "[NaN, 0, 0, 0]",
        "inf": "[1e400, 1, 1, 1]",
        "digits": f"[{DIGITS_400}, 1, 1, 1]",
        "text": '["x", 1, 1, 1]',
        "short": "[1]",
        "tiny": "[5e-324, 1, 1, 1]",
        "1e300": "[1e300, 1, 1, 1]",
    }.items():
        yield f"scaling.scale-{name}", spoilt(good, "scaling.scale", text)
        yield f"scaling.center-{name}", spoilt(good, "scaling.center", text)
    yield "ops-digits", spoilt(good, "ops", f'{{"SelectiveScan": {DIGITS_400}}}')
    yield "ops-10k", spoilt(good, "ops", json.dumps({f"Op{i}": i for i in range(10_000)}))
    yield "training-nan", spoilt(good, "training", '{"accuracy": NaN, "loss": 1e400}')
    yield "training-digits", spoilt(good, "training", f'{{"epochs": {DIGITS_400}}}')
    yield "training-deep", spoilt(good, "training", '{"a":' * 50_000 + "1" + "}" * 50_000)
    yield "training-deep-800", spoilt(good, "training", '{"a":' * 800 + "1" + "}" * 800)
    yield "training-5mb", spoilt(good, "training", json.dumps({"note": "n" * 5_000_000}))
    yield "model-digits", spoilt(good, "model", f'{{"top_k": {DIGITS_400}, "n_layers": 1000000}}')
    yield "model-huge", spoilt(good, "model", '{"top_k": 3, "n_layers": 1000000, "d_model": 1000000000}')
    yield "unknown", spoilt(good, "x" * 100_000, "1")
    yield "reference-escape", spoilt(good, "reference", '"\\u001b[2J"')
    yield "hop-beyond", spoilt(good, "hop", "1000000000000")
    yield "n_times-2e9", spoilt(good, "n_times", "2000000000")
    yield "sfreq-1e7", spoilt(good, "sfreq", "1e7")

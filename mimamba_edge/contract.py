"""The contract: everything a model file promises about its input, its signal path and its output.

It is the only configuration a stream needs. It travels as JSON in the checkpoint, in the ONNX file's
``metadata_props`` (key :data:`METADATA_KEY`) and in the manifest beside each artefact.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

from mimamba_edge.errors import ContractError

__all__ = [
    "CONTRACT_VERSION",
    "LOGITS",
    "METADATA_KEY",
    "OPS",
    "PERIODS",
    "WINDOWS",
    "Contract",
    "Filter",
    "Scaling",
]

CONTRACT_VERSION = 1
METADATA_KEY = "mimamba.contract"
OPS = {"SelectiveScan": 1, "MultiScaleTemporalBlock": 1}
"""Versions of the custom ops (ONNX domain ``mimamba``) that this build understands."""
WINDOWS = "windows"
"""Name of the input tensor of every artefact: ``(b, n_chans, n_times)`` float32, scaled."""
LOGITS = "logits"
"""Name of the output tensor of every artefact: ``(b, n_outputs)`` float32."""
PERIODS = "periods"
"""Name of the optional output of a runner that can show its periods: ``(b, top_k)`` int64, in samples."""


@dataclass(frozen=True)
class Filter:
    """One causal IIR section group of the signal path, designed at the source's nominal rate.

    Attributes:
        kind: ``"bandpass"`` (Butterworth, ``order`` per edge, ``low_hz`` to ``high_hz``) or ``"notch"``
            (second order, centre ``freq_hz``, quality factor ``q``).
    """

    kind: str
    order: int = 4
    low_hz: float = 0.0
    high_hz: float = 0.0
    freq_hz: float = 0.0
    q: float = 30.0


@dataclass(frozen=True)
class Scaling:
    """How microvolts become network input.

    Attributes:
        kind: ``"robust"``: ``(x - center) / scale`` per channel with the training fold's median and
            IQR; ``"window-zscore"``: each window and channel to mean 0, deviation 1; ``"none"``.
        center: Microvolts, one a channel (``robust``).
        scale: Microvolts, one a channel, positive (``robust``).
    """

    kind: str = "robust"
    center: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()


@dataclass(frozen=True)
class Contract:
    """What a model expects and gives.

    Attributes:
        ch_names: Channel names in the order of the input tensor.
        sfreq: Rate of the windows in Hz, after resampling.
        n_times: Samples of a window.
        hop: Samples between window starts, at ``sfreq``; windows are anchored at sample 0.
        class_names: Names of the outputs in order.
        reference: Reference scheme the model was trained on; ``"as-recorded"`` for wearables.
        unit: Unit of the signal before scaling, always ``"uV"``.
        filters: IIR filters, in order, run at the source's rate before resampling.
        mains_hz: Mains frequency the notch stands at, or ``None``.
        resampler: Name of the resampling scheme; ``"polyphase-fir"``.
        scaling: See :class:`Scaling`.
        temperature: Divides the logits before the softmax.
        ops: Versions of the custom ops.
        model: Model configuration (keyword arguments of ``MSiMamba``).
        training: Data, protocol and figures of the training, for people.
        contract_version: :data:`CONTRACT_VERSION`.
    """

    ch_names: tuple[str, ...]
    sfreq: float
    n_times: int
    hop: int
    class_names: tuple[str, ...]
    reference: str = "as-recorded"
    unit: str = "uV"
    filters: tuple[Filter, ...] = ()
    mains_hz: float | None = None
    resampler: str = "polyphase-fir"
    scaling: Scaling = field(default_factory=Scaling)
    temperature: float = 1.0
    ops: dict[str, int] = field(default_factory=lambda: dict(OPS))
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    contract_version: int = CONTRACT_VERSION

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ContractError(
                "the contract is not valid: " + "; ".join(problems),
                do="export the model again, or mend the field named",
            )

    @property
    def n_chans(self) -> int:
        """Number of channels."""
        return len(self.ch_names)

    @property
    def n_outputs(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.n_times / self.sfreq

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), allow_nan=False))
        return plain

    def to_json(self) -> str:
        """Return canonical JSON (sorted keys), the form whose bytes are hashed."""
        return json.dumps(self.to_dict(), sort_keys=True, allow_nan=False)

    @classmethod
    def from_dict(cls, raw: Any) -> Contract:
        """Build a contract from what :meth:`to_dict` gave.

        Raises:
            ContractError: Not a mapping, unknown or missing fields, another version, invalid values.
        """
        if not isinstance(raw, dict):
            raise ContractError("the contract is not a JSON object", got=type(raw).__name__)
        version = raw.get("contract_version")
        if version != CONTRACT_VERSION:
            raise ContractError(
                "the contract has a version that this build does not read",
                got=version,
                expected=CONTRACT_VERSION,
                do="install the mimamba-edge version that wrote the file, or export again",
            )
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(raw) - known)
        missing = [n for n in ("ch_names", "sfreq", "n_times", "hop", "class_names") if n not in raw]
        if unknown or missing:
            raise ContractError(
                "the contract's fields are not the ones of its version",
                got=f"unknown {unknown}, missing {missing}",
            )
        try:
            values = dict(raw)
            if isinstance(raw["ch_names"], str) or isinstance(raw["class_names"], str):
                raise TypeError("ch_names and class_names are lists")
            values["ch_names"] = tuple(raw["ch_names"])
            values["class_names"] = tuple(raw["class_names"])
            values["filters"] = tuple(Filter(**f) for f in raw.get("filters", ()))
            scaling = dict(raw.get("scaling", {}))
            for key in ("center", "scale"):
                scaling[key] = tuple(float(v) for v in scaling.get(key, ()))
            values["scaling"] = Scaling(**scaling)
            return cls(**values)
        except (TypeError, ValueError, AttributeError) as error:
            raise ContractError("the contract is malformed", got=str(error)) from error

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Parse what :meth:`to_json` gave.

        Raises:
            ContractError: As :meth:`from_dict`, or the text is not JSON.
        """
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise ContractError("the contract is not JSON", got=str(error)) from error
        return cls.from_dict(raw)


def _problems(c: Contract) -> list[str]:
    """Return every reason why the values cannot describe a model."""
    out: list[str] = []
    for name in ("ch_names", "class_names"):
        if not all(isinstance(value, str) for value in getattr(c, name)):
            out.append(f"{name} must be texts, got {list(getattr(c, name))}")
    for name in ("ops", "model", "training"):
        if not isinstance(getattr(c, name), dict):
            out.append(f"{name} must be a JSON object, got {getattr(c, name)!r}")
    if not c.ch_names or len(set(c.ch_names)) != len(c.ch_names):
        out.append(f"ch_names must be distinct and at least one, got {list(c.ch_names)}")
    if len(c.class_names) < 2 or len(set(c.class_names)) != len(c.class_names):
        out.append(f"class_names must be distinct and at least two, got {list(c.class_names)}")
    for name in ("sfreq", "temperature", *(() if c.mains_hz is None else ("mains_hz",))):
        value = getattr(c, name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not (math.isfinite(value) and value > 0):
            out.append(f"{name} must be a positive number, got {value!r}")
    for name in ("n_times", "hop"):
        value = getattr(c, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            out.append(f"{name} must be a positive whole number, got {value!r}")
    if c.unit != "uV":
        out.append(f"unit must be 'uV', got {c.unit!r}")
    if c.resampler != "polyphase-fir":
        out.append(f"resampler must be 'polyphase-fir', got {c.resampler!r}")
    for f in c.filters:
        if f.kind == "bandpass":
            if not (0 < f.low_hz < f.high_hz and isinstance(f.order, int) and f.order >= 1):
                out.append(f"band-pass needs 0 < low_hz < high_hz and a whole order >= 1, got {f}")
        elif f.kind == "notch":
            if not (f.freq_hz > 0 and f.q > 0):
                out.append(f"notch needs freq_hz > 0 and q > 0, got {f}")
        else:
            out.append(f"filter kind must be 'bandpass' or 'notch', got {f.kind!r}")
    s = c.scaling
    if s.kind not in ("robust", "window-zscore", "none"):
        out.append(f"scaling kind must be 'robust', 'window-zscore' or 'none', got {s.kind!r}")
    if s.kind == "robust":
        if len(s.center) != len(c.ch_names) or len(s.scale) != len(c.ch_names):
            out.append(
                f"scaling needs {len(c.ch_names)} numbers, got {len(s.center)} centers, {len(s.scale)} scales"
            )
        elif not all(math.isfinite(v) for v in s.center) or not all(
            math.isfinite(v) and v > 0 for v in s.scale
        ):
            out.append("scaling numbers must be finite and scales positive")
    return out

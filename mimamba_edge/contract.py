"""The contract: everything a model file promises about its input, its signal path and its output.

It is the only configuration a stream needs. It travels as JSON in the checkpoint, in the ONNX file's
``metadata_props`` (key :data:`METADATA_KEY`) and in the manifest beside each artefact.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mimamba_edge.errors import ContractError, listed, quoted, shorten
from mimamba_edge.signature import Signature, Tensor
from mimamba_edge.strict_json import Malformed, convert, decode

__all__ = [
    "CONTRACT_VERSION",
    "DEFAULT_FAMILY",
    "FIELDS",
    "FOREIGN_FAMILY",
    "LOGITS",
    "METADATA_KEY",
    "OPS",
    "WINDOWS",
    "Contract",
    "Filter",
    "Promise",
    "Scaling",
    "default_hop",
    "scaling_problems",
]

CONTRACT_VERSION = 1
METADATA_KEY = "mimamba.contract"
OPS = {"SelectiveScan": 1, "MultiScaleTemporalBlock": 1}
"""Versions of the custom ops (ONNX domain ``mimamba``) that this build understands."""
FIELDS = {
    "SelectiveScan": (
        "has_z",
        "delta_softplus",
        "reverse",
        "return_last_state",
        "groups",
        "B_offset",
        "C_offset",
        "z_offset",
    ),
    "MultiScaleTemporalBlock": (
        "top_k",
        "min_bin",
        "max_bin",
        "weighting",
        "amplitude_scale",
        "period_rule",
        "channel_first",
    ),
}
"""Attributes of the custom nodes of a file for TensorRT, all required: the fields of the plugins. Those that
the ops of the portable file do not have say how a plugin reads its tensors."""
WINDOWS = "windows"
"""Name of the input tensor of every artefact: ``(b, n_chans, n_times)`` float32, scaled."""
LOGITS = "logits"
"""Name of the output tensor of every artefact: ``(b, n_outputs)`` float32."""
DEFAULT_FAMILY = "msimamba"
"""Family of contracts that name none, which is how all were written while there was only one."""
FOREIGN_FAMILY = "foreign"
"""Family of networks of others, of which only the exported files are known."""
_DECISIONS_EVERY_S = 0.125
"""Hop of the stream: fast enough to look immediate on a page, slow enough for 64 streams on two cores."""


def default_hop(sfreq: float) -> int:
    """Return the default hop of a contract in samples, for a rate in Hz."""
    return max(1, round(_DECISIONS_EVERY_S * sfreq))


@dataclass(frozen=True)
class Filter:
    """One causal IIR section group of the signal path, designed at the source's nominal rate.

    Attributes:
        kind: ``"bandpass"`` (Butterworth, ``order`` per edge, ``low_hz`` to ``high_hz``) or ``"notch"``
            (second order, centre ``freq_hz``, quality factor ``q``).
        order: Of a band-pass, for each edge.
        low_hz: Lower edge of a band-pass.
        high_hz: Upper edge of a band-pass.
        freq_hz: Centre of a notch.
        q: Quality factor of a notch: its centre by its width.
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
        family: Of the model, a key of :data:`mimamba_edge.family.FAMILIES`.
        model: Configuration of the model; its family knows the fields.
        training: Data, protocol and figures of the training, for people.
        contract_version: Version of this format, :data:`CONTRACT_VERSION`.
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
    family: str = DEFAULT_FAMILY
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    contract_version: int = CONTRACT_VERSION

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise ContractError(
                "the contract is not valid: " + listed(problems, "; "),
                do="export the model again, or correct the field",
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

    @cached_property
    def signature(self) -> Signature:
        """Names, types and shapes of the model's tensors."""
        windows = Tensor(WINDOWS, "float32", (self.n_chans, self.n_times))
        return Signature(windows, (Tensor(LOGITS, "float32", (self.n_outputs,)),), ops=self.ops)

    def unlike_live(self) -> list[str]:
        """Return what was done to the signal of the training that no device and no signal path here does.

        Another reference, a filter that cut off more than those of the contract, or cleaning afterwards: what
        such a model scored does not hold for a live signal.
        """
        data = self.training.get("data")
        told = data.get("processing") if isinstance(data, dict) else None
        done: dict[str, Any] = told if isinstance(told, dict) else {}
        found = [] if self.reference == "as-recorded" else [f"reference: {shorten(self.reference, 200)}"]
        band, here = done.get("band_hz"), next((f for f in self.filters if f.kind == "bandpass"), None)
        known = isinstance(band, list) and len(band) == 2 and all(_number(e, 0, _RATES[1]) for e in band)
        if band and known and (here is None or band[0] > here.low_hz or band[1] < here.high_hz):
            found.append(f"filtered to {band[0]:g}-{band[1]:g} Hz")
        if done.get("cleaning"):
            found.append(shorten(str(done["cleaning"]), 200))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; the default family is left out, so that hashes of older files stay."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), allow_nan=False))
        if self.family == DEFAULT_FAMILY:
            del plain["family"]
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
                "the contract has a version that this mimamba-edge cannot read",
                got=version,
                expected=CONTRACT_VERSION,
                do="install the mimamba-edge version that wrote the file, or export again",
            )
        try:
            return convert(raw, cls)
        except Malformed as error:
            raise ContractError("the contract is malformed", got=error) from error

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Parse what :meth:`to_json` gave.

        Raises:
            ContractError: As :meth:`from_dict`, or the text is not JSON.
        """
        try:
            raw = decode(text, object)
        except Malformed as error:
            raise ContractError("the contract cannot be read", got=error) from error
        return cls.from_dict(raw)


Promise = Contract | Signature
"""What a model file says of itself: a contract, or of a model that has none the tensors alone."""


_MOST = {"ch_names": 1024, "class_names": 1024, "filters": 16, "ops": 64}
_LONGEST_NAME = 256
_MOST_SAMPLES = 1 << 20
_MOST_VALUES = 1 << 24
"""Of one window, over its channels: 64 MiB as float32."""
_MOST_ORDER = 16
_RATES = (1e-3, 1e5)
"""Hz: from slower than any EEG to faster than any amplifier. No filter stands outside either."""
_MICROVOLTS = 1e9
_LEAST_SCALE = 1e-9
_Q = (1e-2, 1e6)
_TEMPERATURES = (1e-6, 1e6)


def _number(value: object, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _problems(c: Contract) -> list[str]:
    """Return every reason why the values cannot describe a model."""
    out: list[str] = []
    for name, most in _MOST.items():
        value = getattr(c, name)
        if isinstance(value, (dict, list, tuple)) and len(value) > most:
            out.append(f"{name} has {len(value):,} entries, more than {most}")
    for name in ("ch_names", "class_names"):
        names = getattr(c, name)
        if not all(isinstance(value, str) and len(value) <= _LONGEST_NAME for value in names):
            out.append(
                f"{name} must be texts of at most {_LONGEST_NAME} characters, got {quoted(list(names))}"
            )
    if not isinstance(c.family, str) or not 1 <= len(c.family) <= _LONGEST_NAME:
        out.append(f"family must be a text of at most {_LONGEST_NAME} characters, got {quoted(c.family)}")
    for name in ("ops", "model", "training"):
        if not isinstance(getattr(c, name), dict):
            out.append(f"{name} must be a JSON object, got {quoted(getattr(c, name))}")
    if not c.ch_names or len(set(c.ch_names)) != len(c.ch_names):
        out.append(f"ch_names must be distinct and at least one, got {quoted(list(c.ch_names))}")
    if len(c.class_names) < 2 or len(set(c.class_names)) != len(c.class_names):
        out.append(f"class_names must be distinct and at least two, got {quoted(list(c.class_names))}")
    rates = {"sfreq": _RATES, "temperature": _TEMPERATURES, "mains_hz": _RATES}
    for name, (low, high) in rates.items():
        value = getattr(c, name)
        if not _number(value, low, high) and (name, value) != ("mains_hz", None):
            out.append(f"{name} must be a positive number from {low:g} to {high:g}, got {quoted(value)}")
    for name in ("n_times", "hop"):
        if not _whole(getattr(c, name), _MOST_SAMPLES):
            got = quoted(getattr(c, name))
            out.append(f"{name} must be a positive whole number up to {_MOST_SAMPLES}, got {got}")
    if _whole(c.n_times, _MOST_SAMPLES) and c.n_times * len(c.ch_names) > _MOST_VALUES:
        out.append(f"n_times times channels must be at most {_MOST_VALUES}")
    if c.unit != "uV":
        out.append(f"unit must be 'uV', got {quoted(c.unit)}")
    if c.resampler != "polyphase-fir":
        out.append(f"resampler must be 'polyphase-fir', got {quoted(c.resampler)}")
    out += [problem for f in c.filters[: _MOST["filters"]] if (problem := _filter_problem(f))]
    return out + scaling_problems(c.scaling, len(c.ch_names))


def _filter_problem(f: Filter) -> str | None:
    low, high = _RATES
    if f.kind == "bandpass":
        edges = _number(f.low_hz, low, high) and _number(f.high_hz, low, high) and f.low_hz < f.high_hz
        if edges and _whole(f.order, _MOST_ORDER):
            return None
        rule = f"0 < low_hz < high_hz from {low:g} to {high:g} and a whole order from 1 to {_MOST_ORDER}"
        return f"band-pass needs {rule}, got {quoted(f, 160)}"
    if f.kind == "notch":
        if _number(f.freq_hz, low, high) and _number(f.q, *_Q):
            return None
        rule = f"freq_hz from {low:g} to {high:g} and q from {_Q[0]:g} to {_Q[1]:g}"
        return f"notch needs {rule}, got {quoted(f, 160)}"
    return f"filter kind must be 'bandpass' or 'notch', got {quoted(f.kind)}"


def scaling_problems(s: Scaling, n_chans: int) -> list[str]:
    """Return why a scaling cannot be that of so many channels."""
    if s.kind not in ("robust", "window-zscore", "none"):
        return [f"scaling kind must be 'robust', 'window-zscore' or 'none', got {quoted(s.kind)}"]
    if s.kind != "robust":
        return []
    if len(s.center) != n_chans or len(s.scale) != n_chans:
        return [f"scaling needs {n_chans} numbers, got {len(s.center)} centers, {len(s.scale)} scales"]
    centers = all(_number(v, -_MICROVOLTS, _MICROVOLTS) for v in s.center)
    if not centers or not all(_number(v, _LEAST_SCALE, _MICROVOLTS) for v in s.scale):
        return [
            f"scaling numbers must be finite, scales positive, and none beyond {_MICROVOLTS:g} microvolts"
        ]
    return []

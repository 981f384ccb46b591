"""Configuration of MS-iMamba: what stands in a checkpoint, checked as a whole."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mimamba_edge.errors import ConfigError, listed, quoted
from mimamba_edge.family import MOST_PARAMETERS

__all__ = ["N_TIMES", "ModelConfig", "complete_sizes", "settings_in"]


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of the network.

    The paper (arXiv 2409.07589) gives the structure; the numbers and the choices marked "ours" are this
    project's.

    Attributes:
        n_chans: Channels, 1 to 128.
        n_times: Samples of a window, 32 to 4096.
        n_outputs: Classes.
        sfreq: Rate of the windows in Hz.
        d_model: Width of a channel token (ours).
        n_layers: Mamba layers over the channels (ours).
        d_state: States per inner channel, at most 256 (ours).
        d_conv: Taps of the causal convolution over channels (ours).
        expand: Inner width over ``d_model`` (ours).
        dt_rank: Rank of the step size; ``"auto"`` becomes ``ceil(d_model / 16)``.
        top_k: Periods a window is folded by, at most 8 (ours).
        n_kernels: Parallel kernels of sizes 1, 3, ..., ``2 n_kernels - 1``, at most 8 (ours).
        d_ff: Hidden maps between the two perceptions (ours).
        min_bin: First Fourier bin a period may come from, at least 1 (ours).
        max_bin: Last one; 0 means ``n_times // 2`` (ours).
        weighting: ``"amplitude"``: branches weigh by share of amplitude (ours); ``"softmax"``: by softmax of
            ``amplitude_scale`` times amplitude (TimesNet, with scale 1).
        amplitude_scale: See ``weighting``.
        period_selection: ``"sample"``: each window has its own periods (ours); ``"batch"``: in training, all
            windows of a batch share those of its mean spectrum (TimesNet). Evaluation is always per window.
        bidirectional: Scan the channels both ways (ours).
        dropout: Of each layer's output (ours).
    """

    n_chans: int
    n_times: int
    n_outputs: int
    sfreq: float
    d_model: int = 128
    n_layers: int = 2
    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    dt_rank: int | str = "auto"
    top_k: int = 3
    n_kernels: int = 6
    d_ff: int = 32
    min_bin: int = 1
    max_bin: int = 0
    weighting: str = "amplitude"
    amplitude_scale: float = 1.0
    period_selection: str = "sample"
    bidirectional: bool = False
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if problems := listed(_problems(self)):
            raise ConfigError(f"the model configuration is not valid:\n    {problems}")
        if self.dt_rank == "auto":
            object.__setattr__(self, "dt_rank", math.ceil(self.d_model / 16))
        if self.n_parameters > MOST_PARAMETERS:
            raise ConfigError(
                "the model configuration describes too large a network",
                got=f"{self.n_parameters:,} weights",
                expected=f"at most {MOST_PARAMETERS:,}",
            )

    @property
    def d_inner(self) -> int:
        """Width inside a Mamba block."""
        return self.expand * self.d_model

    @property
    def n_parameters(self) -> int:
        """Number of weights of the network, without building it."""
        d, inner, rank = self.d_model, self.d_inner, int(self.dt_rank)
        taps = sum((2 * i + 1) ** 2 for i in range(self.n_kernels))
        perceptions = 2 * self.n_chans * self.d_ff * taps + self.n_kernels * (self.n_chans + self.d_ff)
        direction = inner * (self.d_conv + 1 + rank + 2 * self.d_state + rank + 1 + self.d_state + 1)
        layer = 2 * d + 3 * d * inner + direction * (2 if self.bidirectional else 1)
        ends = (self.n_times + 1) * d + 2 * d + (self.n_chans * d + 1) * self.n_outputs
        return perceptions + self.n_layers * layer + ends

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; ``dt_rank`` is a number."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, raw: Any) -> ModelConfig:
        """Build a configuration from what :meth:`to_dict` gave.

        Raises:
            ConfigError: Not a mapping, unknown or missing fields, or values that cannot work: all in one.
        """
        if not isinstance(raw, Mapping):
            raise ConfigError("the model configuration is not a mapping", got=type(raw).__name__)
        fields = dataclasses.fields(cls)
        known = {f.name for f in fields}
        unknown = sorted(name if isinstance(name, str) else quoted(name) for name in raw if name not in known)
        missing = [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in raw]
        if unknown or missing:
            raise ConfigError(
                "the model configuration's fields do not match this version",
                got=f"unknown {quoted(unknown, 300)}, missing {missing}",
            )
        return cls(**raw)


N_TIMES = (32, 4096)
"""Samples of a window that a model can take, from and to."""

_RANGES = {
    "n_chans": (1, 128),
    "n_times": N_TIMES,
    "n_outputs": (1, 1024),
    "d_model": (1, 4096),
    "n_layers": (1, 64),
    "d_state": (1, 256),
    "d_conv": (1, 64),
    "expand": (1, 16),
    "top_k": (1, 8),
    "n_kernels": (1, 8),
    "d_ff": (1, 1024),
    "min_bin": (1, N_TIMES[1]),
    "max_bin": (0, N_TIMES[1]),
}
_MOST_RANK = 4096
_MOST_RATE = 1e5
_MOST_SCALE = 1e6


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def _problems(c: ModelConfig) -> Iterator[str]:
    """Yield every reason why the values cannot describe a network."""
    sound = True
    for name, (low, high) in _RANGES.items():
        value = getattr(c, name)
        if not _whole(value) or not low <= value <= high:
            sound = False
            yield f"{name} must be a whole number from {low} to {high}, got {quoted(value)}"
    rank: object = c.dt_rank
    if not (isinstance(rank, str) and rank == "auto") and not (
        isinstance(rank, int) and not isinstance(rank, bool) and 1 <= rank <= _MOST_RANK
    ):
        sound = False
        yield f"dt_rank must be 'auto' or a whole number from 1 to {_MOST_RANK}, got {quoted(rank)}"
    if not (_number(c.sfreq) and 0 < c.sfreq <= _MOST_RATE):
        yield f"sfreq must be a positive number of Hz up to {_MOST_RATE:g}, got {quoted(c.sfreq)}"
    if not (_number(c.amplitude_scale) and abs(c.amplitude_scale) <= _MOST_SCALE):
        yield f"amplitude_scale must be a number up to {_MOST_SCALE:g}, got {quoted(c.amplitude_scale)}"
    if not (_number(c.dropout) and 0 <= c.dropout < 1):
        yield f"dropout must be at least 0 and under 1, got {quoted(c.dropout)}"
    for name, allowed in {
        "weighting": ("amplitude", "softmax"),
        "period_selection": ("sample", "batch"),
        "bidirectional": (True, False),
    }.items():
        value = getattr(c, name)
        if not isinstance(value, (str, bool)) or value not in allowed:
            sound = False
            yield f"{name} must be one of {allowed}, got {quoted(value)}"
    if sound:
        last = c.max_bin or c.n_times // 2
        if last > c.n_times // 2:
            yield f"max_bin must be at most n_times // 2 = {c.n_times // 2}, got {c.max_bin}"
        elif last - c.min_bin + 1 < c.top_k:
            yield f"top_k {c.top_k} periods need as many Fourier bins, got bins {c.min_bin} to {last}"


def settings_in(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return what the shapes of a network's weights tell of its configuration, where it is not the default.

    Empty: they are not of such a network. The rate, what chooses and weighs periods, and dropout leave no
    trace in weights.
    """
    layers = [name for name in shapes if name.endswith(".mamba.A_log")]
    kernels = [name for name in shapes if name.startswith("mstb.msp1.convs.") and name.endswith(".weight")]
    block = "tsfb.layers.0.mamba"
    try:
        d_model, n_times = shapes["tsfb.embedding.weight"]
        d_ff, n_chans = shapes["mstb.msp1.convs.0.weight"][:2]
        d_inner, d_state = shapes[f"{block}.A_log"]
        found = {
            "n_chans": n_chans,
            "n_times": n_times,
            "n_outputs": shapes["final_layer.weight"][0],
            "d_model": d_model,
            "n_layers": len(layers),
            "d_state": d_state,
            "d_conv": shapes[f"{block}.conv1d.weight"][2],
            "expand": d_inner // d_model,
            "dt_rank": shapes[f"{block}.dt_proj.weight"][1],
            "n_kernels": len(kernels),
            "d_ff": d_ff,
            "bidirectional": f"{block}.A_b_log" in shapes,
        }
        usual = {field.name: field.default for field in dataclasses.fields(ModelConfig)}
        usual["dt_rank"] = math.ceil(d_model / 16)
        return {name: value for name, value in found.items() if value != usual[name]}
    except (KeyError, ValueError, IndexError, ZeroDivisionError):
        return {}


def complete_sizes(
    sizes: Mapping[str, Any], n_chs_info: int | None, input_window_seconds: float | None
) -> dict[str, Any]:
    """Return the sizes of a network, those that were left out from the others, as braindecode does it.

    Args:
        sizes: ``n_chans``, ``n_times``, ``n_outputs`` and ``sfreq``, each a number or ``None``.
        n_chs_info: Channels that are described, or ``None``.
        input_window_seconds: Length of a window, or ``None``.

    Raises:
        ConfigError: One is missing, or two do not fit each other.
    """
    found = dict(sizes)
    if found["n_chans"] is None:
        found["n_chans"] = n_chs_info
    problems = []
    if n_chs_info not in (None, found["n_chans"]):
        problems.append(f"n_chans {quoted(found['n_chans'])} and {n_chs_info} entries of chs_info")
    if input_window_seconds is not None and not 0 < input_window_seconds < math.inf:
        problems.append(f"input_window_seconds {quoted(input_window_seconds)}, which needs a length above 0")
    elif input_window_seconds is not None:
        n_times, sfreq = found["n_times"], found["sfreq"]
        if n_times is None and sfreq is not None:
            found["n_times"] = round(input_window_seconds * sfreq)
        elif sfreq is None and n_times is not None:
            found["sfreq"] = n_times / input_window_seconds
        elif sfreq is not None and n_times != round(input_window_seconds * sfreq):
            problems.append(f"n_times {n_times} and {input_window_seconds} s at {sfreq} Hz")
    if problems:
        raise ConfigError("sizes of the network do not fit each other", got="; ".join(problems))
    if missing := [name for name, value in found.items() if value is None]:
        raise ConfigError(
            "the network lacks sizes",
            got=f"no {', '.join(missing)}",
            expected="n_outputs; n_chans or chs_info; two of n_times, input_window_seconds and sfreq",
            do="name them; in braindecode's EEGClassifier: "
            + ", ".join(f"module__{name}=..." for name in missing),
        )
    return found

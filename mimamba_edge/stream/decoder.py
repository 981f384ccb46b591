"""Decisions on one signal: its signal path, the model, the smoothing. No threads, sources or sinks."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mimamba_edge.artifact import sha256_file
from mimamba_edge.contract import Contract
from mimamba_edge.errors import RunnerError
from mimamba_edge.load import load_model
from mimamba_edge.runtime.base import Runner
from mimamba_edge.signal.preprocessor import Preprocessor, Window
from mimamba_edge.signal.signal_format import SignalFormat
from mimamba_edge.stream.decision import Decision, softmax
from mimamba_edge.stream.names import check_map
from mimamba_edge.stream.options import StreamOptions
from mimamba_edge.stream.smoothing import Smoother

__all__ = ["Decoder", "infer"]


class Decoder:
    """Samples of one signal in, decisions out. Memory and cost a sample do not grow.

    :meth:`push` does it all. A stream engine batches the windows of several decoders: it calls
    :meth:`prepare`, runs the model itself and calls :meth:`decide`. For one thread at a time.

    Args:
        model: An active runner, which stays the caller's, or a model's file, which is loaded here and
            released by :meth:`close` or at the end of ``with``.
        ch_names: Channels of the signal, in the order of the columns of its samples.
        sfreq: Its nominal rate in Hz.
        unit: Unit of the samples.
        rails_uv: Lowest and highest value it can take, in microvolts; ``None``: not known.
        counted: Losses are known by a packet counter and filled with NaN.
        options: Mains, smoothing, names of channels, profile.

    Attributes:
        runner: What runs the model.
        preprocessor: The signal path.
        delay_ms: How old what a decision shows is: half a window, the filters and the smoothing.

    Raises:
        MimambaError: The model cannot be loaded, or the signal or an option does not fit it.
    """

    def __init__(
        self,
        model: Runner | str | Path,
        ch_names: Sequence[str],
        sfreq: float,
        *,
        unit: str = "uV",
        rails_uv: tuple[float, float] | None = None,
        counted: bool = False,
        options: StreamOptions = StreamOptions(),  # noqa: B008 - frozen
    ) -> None:
        self.runner = model if isinstance(model, Runner) else load_model(model)
        if self.runner.least_batch > 1:
            raise RunnerError(
                f"{self.runner.artifact} cannot take single windows",
                got=f"batches of at least {self.runner.least_batch}",
                do="build the plan with --batch 1, or 1,8,64 for several streams",
            )
        profile, mains_hz = options.profile, options.mains_hz
        file = Path(self.runner.artifact)
        sha256 = sha256_file(file) if profile is not None and file.is_file() else ""
        contract = options.effective(self.runner.contract, sha256)
        check_map(options.channel_map, contract.ch_names)
        self.preprocessor = Preprocessor(
            contract,
            SignalFormat(ch_names, sfreq, unit, rails_uv, counted),
            mains_hz=profile.mains_hz if mains_hz is None and profile is not None else mains_hz,
            channel_map=options.channel_map,
        )
        hop_s = contract.hop / contract.sfreq
        self._smoother = Smoother(contract.n_outputs, hop_s, options.smooth_s, options.hysteresis)
        self.delay_ms = round(self.preprocessor.algorithmic_delay_ms() + 1e3 * self._smoother.delay_s, 3)
        self._sfreq, self._given = sfreq, 0
        self._owned = self.runner is not model
        if self._owned:
            self.runner.activate()

    @property
    def contract(self) -> Contract:
        """The model's contract, with the scaling of the profile."""
        return self.preprocessor.contract

    @property
    def report(self) -> dict[str, Any]:
        """Counters of samples, windows, gaps and losses since the start, JSON-ready."""
        return self.preprocessor.report

    def push(self, samples: ArrayLike, timestamps: ArrayLike | None = None) -> list[Decision]:
        """Take the next samples and return the decisions on the windows they complete.

        The same samples give the same decisions however they are cut into chunks, and the same as
        ``mimamba-edge stream``, but for the latency.

        Args:
            samples: ``(n, n_chans)``; NaN where a sample is missing.
            timestamps: ``(n,)`` seconds, as recorded: jittered, never sorted or smoothed. Without them, in
                all calls or in none, sample ``i`` of the signal is taken to be from ``i / sfreq``.

        Raises:
            SignalError: The shapes do not fit, or a timestamp is not a number.
            RunnerError: The model failed, or gave logits that are not finite.
        """
        began = time.perf_counter()
        decisions = []
        for window in self.prepare(samples, timestamps):
            logits = infer(self.runner, window.data[None])[0] if window.valid else None
            latency_ms = 1e3 * (time.perf_counter() - began)
            decisions.append(self.decide(window, logits, latency_ms=latency_ms))
        return decisions

    def prepare(
        self, samples: ArrayLike, timestamps: ArrayLike | None = None, *, pause: bool = False
    ) -> list[Window]:
        """Take the next samples, as :meth:`push` does, and return the windows they complete.

        With ``pause`` as soon as these are there; :meth:`finish` must then be called before anything else.
        """
        rows = np.asarray(samples, dtype=np.float64)
        if timestamps is None:
            n = rows.shape[0] if rows.ndim else 0
            timestamps = np.arange(self._given, self._given + n) / self._sfreq
            self._given += n
        return self.preprocessor.push(rows, np.asarray(timestamps, dtype=np.float64), pause=pause)

    def finish(self) -> list[Window]:
        """Do what a :meth:`prepare` that paused has left; return further windows, after a loss was found."""
        return self.preprocessor.finish()

    def decide(
        self,
        window: Window,
        logits: NDArray[np.float32] | None,
        *,
        latency_ms: float,
        t_unix: float | None = None,
        stream: str | None = None,
    ) -> Decision:
        """Return the decision on the next window.

        Args:
            window: The window.
            logits: What the model says, ``(o,)``; ``None`` where it was not asked: no decision.
            latency_ms: From the newest sample's arrival until now.
            t_unix: Wall clock when it arrived.
            stream: Name of the signal, where there are several.
        """
        contract = self.contract
        label, probs = None, None
        if logits is not None:
            p, chosen = self._smoother.push(
                softmax(logits, contract.temperature), window.stop / contract.sfreq
            )
            label = contract.class_names[chosen]
            probs = dict(zip(contract.class_names, [round(v, 6) for v in p.tolist()], strict=True))
        return Decision(
            t_s=round(window.t_s, 6),
            t_unix=t_unix,
            window=(window.start, window.stop),
            label=label,
            probs=probs,
            valid=window.valid,
            reason=window.reason,
            quality=window.quality,
            latency_ms=round(latency_ms, 4),
            algorithmic_delay_ms=self.delay_ms,
            stream=stream,
        )

    def close(self) -> None:
        """Release the model, if it was loaded here."""
        if self._owned:
            self._owned = False
            self.runner.deactivate()

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def infer(runner: Runner, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits ``(b, o)`` of windows ``(b, c, l)``.

    Raises:
        RunnerError: The model failed, or gave logits that are not finite.
    """
    logits = runner.logits(windows)
    if not all(map(math.isfinite, logits.ravel().tolist())):
        raise RunnerError(f"{runner.artifact} gave logits that are not finite", got=logits.tolist())
    return logits

"""EEG networks of braindecode with random weights, each by its class and the arguments that all take."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from benchmarks.compat.entry import Compared, imported

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ENTRIES"]

_NAMES = ("TP9", "AF7", "AF8", "TP10")


def _made(name: str, n_times: int, sfreq: float, n_chans: int = 4) -> nn.Module:
    """Return a network for two classes; electrodes stand where a seed puts them."""
    import numpy as np

    places = np.random.default_rng(0).standard_normal((n_chans, 12))
    names = _NAMES if n_chans == len(_NAMES) else tuple(f"EEG{i}" for i in range(n_chans))
    info = [{"ch_name": name, "loc": place} for name, place in zip(names, places, strict=True)]
    make: Any = getattr(imported("braindecode.models"), name)
    model: nn.Module = make(n_chans=n_chans, n_times=n_times, n_outputs=2, sfreq=sfreq, chs_info=info)
    return model


def _entry(name: str, n_times: int = 256, sfreq: float = 128.0, n_chans: int = 4) -> Compared:
    return Compared(
        f"{name}, {n_chans} channels, {n_times / sfreq:g} s at {sfreq:g} Hz",
        "braindecode",
        f"1x{n_chans}x{n_times}",
        functools.partial(_made, name, n_times, sfreq, n_chans),
        packages=("braindecode",),
        any_batch=True,
    )


ENTRIES = {
    f"bd_{entry.title.partition(',')[0].lower()}": entry
    for entry in (
        _entry("EEGNet"),
        # What becomes one kernel of 4 channels has 160,000 weights for 7,682; of 22 it stays a product.
        _entry("ShallowFBCSPNet", 1000, 250, 22),
        _entry("Deep4Net", 1000, 250, 22),
        _entry("EEGConformer"),
        _entry("ATCNet", 512),
        _entry("EEGTCNet"),
        _entry("BDTCN"),
        _entry("EEGITNet"),
        _entry("EEGInceptionERP"),
        _entry("EEGInceptionMI"),
        _entry("EEGNeX"),
        _entry("EEGSimpleConv"),
        _entry("TIDNet"),
        _entry("SleepStagerChambon2018", 3000, 100),
        _entry("SleepStagerBlanco2020", 3000, 100),
        _entry("USleep", 3000, 100),
        _entry("AttentionBaseNet"),
        _entry("CTNet"),
        _entry("MSVTNet"),
        _entry("SCCNet"),
        _entry("FBCNet", 1000, 250),
        _entry("FBMSNet", 1000, 250),
        _entry("FBLightConvNet", 1000, 250),
        _entry("IFNet", 1000, 250),
        _entry("TSception"),
        _entry("SincShallowNet"),
        _entry("SPARCNet"),
        _entry("ContraWR"),
        _entry("BIOT", 1000, 200),
        _entry("Labram", 1000, 200),
        _entry("SignalJEPA_PreLocal", 512),
        _entry("SignalJEPA_PostLocal", 512),
        _entry("AttnSleep", 3000, 100, 1),
        _entry("DeepSleepNet", 3000, 100, 1),
    )
}

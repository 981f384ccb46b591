"""Text files as apps write them, from published examples of each layout."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_BANDS = ",".join(
    f"{band}_{name}"
    for band in ("Delta", "Theta", "Alpha", "Beta", "Gamma")
    for name in ("TP9", "AF7", "AF8", "TP10")
)
_AFTER = "Accelerometer_X,Accelerometer_Y,Accelerometer_Z,Gyro_X,Gyro_Y,Gyro_Z"
_LAST = "HeadBandOn,HSI_TP9,HSI_AF7,HSI_AF8,HSI_TP10,Battery,Elements"


def mind_monitor(
    times: NDArray[np.float64],
    samples: NDArray[np.float64],
    events: Sequence[tuple[float, str]] = (),
    *,
    aux: Sequence[str] = ("AUX_RIGHT",),
    ppg: bool = False,
) -> str:
    """Return a file of Mind Monitor: four channels, then those of ``aux``; times are Unix seconds."""
    columns = ["TimeStamp", _BANDS, "RAW_TP9,RAW_AF7,RAW_AF8,RAW_TP10", *aux, _AFTER]
    columns += ["PPG_Ambient,PPG_IR,PPG_Red,Heart_Rate"] if ppg else []
    header = ",".join([*columns, _LAST])
    bands = ",".join(f"{0.1 * k - 0.7:.16f}" for k in range(20))
    after = "0.429931640625,0.12445068359375,0.90252685546875,-1.51031494140625,6.287994384765625,2.5"
    tail = (",0.0,0.0,0.0,0.0" if ppg else "") + ",1,1.0,1.0,2.0,1.0,97.94,"
    rows = [
        f"{_calendar(t)},{bands},{','.join(map(repr, row))},{after}{tail}"
        for t, row in zip(times, samples.tolist(), strict=True)
    ]
    commas = "," * header.count(",")
    for t, text in sorted(events, reverse=True):
        rows.insert(int(np.searchsorted(times, t)), f"{_calendar(t)}{commas}{text}")
    return "\n".join([header, *rows]) + "\n"


def _calendar(t: float) -> str:
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=round(t * 1000))
    return moment.isoformat(" ", "milliseconds")


def bursts(n: int, start: float, *, sfreq: float = 256.0, seed: int = 0) -> NDArray[np.float64]:
    """Return when a phone gets each of ``n`` samples: twelve at a time, 0 to 45 ms late."""
    late = np.random.default_rng(seed).uniform(0, 0.045, n // 12 + 1)
    packet = np.arange(n) // 12
    arrival = start + (packet + 1) * 12 / sfreq + late[packet]
    return np.maximum.accumulate(arrival) + np.arange(n) % 12 // 5 * 1e-3


def openbci_gui(
    times: NDArray[np.float64],
    samples: NDArray[np.float64],
    numbers: Iterable[float],
    *,
    board: str = "BoardCytonSerial",
    sfreq: float = 250,
    markers: dict[int, float] | None = None,
) -> str:
    """Return a file of version 5.1 or 6 of OpenBCI's GUI; numbers as Java prints them."""
    n = samples.shape[1]
    names = [
        "Sample Index",
        *(f"EXG Channel {k}" for k in range(n)),
        *(f"Accel Channel {k}" for k in range(3)),
    ]
    if "Ganglion" in board:
        between, others = ["Other"] * 5, 5
    else:
        between = [
            "Not Used",
            "Digital Channel 0 (D11)",
            "Digital Channel 1 (D12)",
            "Digital Channel 2 (D13)",
        ]
        between += ["Digital Channel 3 (D17)", "Not Used", "Digital Channel 4 (D18)"]
        between += [f"Analog Channel {k}" for k in range(3)]
        others = 10
    names += [*between, "Timestamp", "Marker Channel", "Timestamp (Formatted)"]
    head = ["%OpenBCI Raw EXG Data", f"%Number of channels = {n}", f"%Sample Rate = {sfreq:g} Hz"]
    head += [f"%Board = OpenBCI_GUI${board}", ", ".join(names)]
    lines = []
    for i, (t, number, row) in enumerate(zip(times, numbers, samples.tolist(), strict=True)):
        cells = [f"{number:.1f}", *map(repr, row), "0.016", "0.0", "-1.002", *["0.0"] * others]
        # Nobody reads the last one.
        cells += [_java(t), f"{(markers or {}).get(i, 0.0):.1f}", "2021-02-22 21:59:01.354"]
        lines.append(", ".join(cells))
    return "\n".join([*head, *lines]) + "\n"


def _java(value: float) -> str:
    """Return a number above ten million as Java prints it: 1.6140275413548E9."""
    digits = f"{value:.6f}".replace(".", "").rstrip("0")
    power = len(f"{value:.6f}".partition(".")[0]) - 1
    return f"{digits[0]}.{digits[1:] or '0'}E{power}"


def openbci_hub(
    times: NDArray[np.float64],
    samples: NDArray[np.float64],
    numbers: Iterable[int],
    *,
    version: int = 4,
    sfreq: float = 250.0,
) -> str:
    """Return a file of version 2, 3 or 4 of OpenBCI's GUI: no names, two decimals."""
    n = samples.shape[1]
    head = ["%OpenBCI Raw EEG Data", f"%Number of channels = {n}" if version > 2 else "%"]
    head += [f"%Sample Rate = {sfreq} Hz", "%First Column = SampleIndex", "%Last Column = Timestamp "]
    head += [
        "%Other Columns = EEG data in microvolts followed by Accel Data (in G) interleaved with Aux Data"
    ]
    lines = []
    for t, number, row in zip(times.tolist(), numbers, samples.tolist(), strict=True):
        cells = [str(number), *(f"{value:.2f}" for value in row), "-0.026", "0.468", "-0.062"]
        cells += [_calendar(t)[11:]] if version > 2 else []
        cells += [str(round(t * 1000))] if version > 3 else []
        lines.append(", ".join(cells))
    return "\n".join([*head, *lines]) + "\n"

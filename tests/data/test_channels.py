"""Which channels are EEG, on the columns of files that people have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.channels import eeg_channels, is_marker, why_no_eeg
from mimamba_edge.data.recording import read_recording

EPOC = "AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4"
TEN_TEN = (
    "Fp1 Fpz Fp2 AF7 AF3 AFz AF4 AF8 F9 F7 F5 F3 F1 Fz F2 F4 F6 F8 F10 FT9 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 "
    "FT8 FT10 T9 T7 T3 C5 C3 C1 Cz C2 C4 C6 T8 T4 T10 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 TP10 P9 P7 T5 "
    "P5 P3 P1 Pz P2 P4 P6 P8 T6 P10 PO7 PO3 POz PO4 PO8 O1 Oz O2 Iz A1 A2 M1 M2 Nz"
)
"""Electrodes of the 10-10 system with its older names: none of them may be taken for anything else."""
NOISE = np.random.default_rng(0).normal(size=500)


@pytest.mark.parametrize(
    ("electrodes", "others"),
    [
        (
            EPOC,
            "COUNTER INTERPOLATED RAW_CQ GYROX GYROY MARKER SYNC TIME_STAMP_s TIME_STAMP_ms CQ_AF3 CQ_CMS",
        ),
        (
            EPOC,
            "COUNTER_MEMS INTERPOLATED_MEMS MARKER_HARDWARE CQ_DRL BATTERY BATTERY_PERCENT Q0 Q3 ACCX MAGZ",
        ),
        ("EEG.AF3 EEG.O2", "EEG.Counter EEG.Interpolated EEG.RawCq EEG.Battery CQ.AF3 CQ.Overall EQ.OVERALL"),
        ("EEG.T7 EEG.T8", "MOT.Q0 MOT.AccX POW.AF3.Theta PM.Stress.Scaled MarkerIndex MarkerValueInt"),
        ("IED_AF3 IED_O1", "IED_COUNTER IED_RAW_CQ IED_GYROX IED_TIMESTAMP"),
        ("Fp1|EXG Channel 0|EXG Channel 7", "Sample Index|Accel Channel 0|Other|Analog Channel 2|Timestamp"),
        ("A1 A32 B7 EXG1 EXG8", "Status GSR1 Erg2 Resp Plet Temp"),
        ("EEG Fpz-Cz|EEG Pz-Oz", "EOG horizontal|Resp oro-nasal|EMG submental|Temp rectal|Event marker"),
        ("TP9|AF7|Right AUX|AUX", "stim|Marker0|Unnamed: 0|STI 014|battery|HEOG|ECG"),
        ("C3 EEG1 ch1 1 a x", "counter PacketNum Unix_Timestamp accel_x gyro"),
        (TEN_TEN, "index"),
    ],
)
def test_names(electrodes: str, others: str) -> None:
    for text, eeg in [(electrodes, True), (others, False)]:
        for name in text.split("|" if "|" in text else None):
            assert (why_no_eeg(name, NOISE) is None) is eeg, name
            assert (why_no_eeg(name.upper(), NOISE) is None) is eeg, name


def test_what_a_column_holds() -> None:
    n = np.arange(4000.0)
    wraps = n % 129
    lossy = np.delete(wraps, slice(500, 512))
    for values in (n, 1e9 + n / 256, wraps, lossy, np.where(n == 7, np.nan, wraps)):
        assert why_no_eeg("x", values)
    assert why_no_eeg("x", np.full(99, np.nan))
    # Electrodes: noise, a drift, whole microvolts, one that gives nothing, and too few samples to tell.
    drift = n / 10 + np.random.default_rng(1).normal(size=4000)
    for values in (NOISE, drift, np.round(10 * NOISE), np.zeros(99), np.repeat(n, 2), n[:20]):
        assert why_no_eeg("x", values) is None


def test_marker_names() -> None:
    assert all(map(is_marker, ("stim", "Marker0", "marker", "STI 014", "Status", "Trigger")))
    assert not any(map(is_marker, ("Fz", "stimulation", "marked", "Status bit", "T7")))


def test_the_stim_column_of_eegnb_is_markers(tmp_path: Path) -> None:
    codes = {100: 1, 500: 2, 501: 2, 900: 1}
    rows = [f"{i / 256:.6f},{i % 7},{i % 5},{codes.get(i, 0)}" for i in range(1280)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["timestamps,TP9,AF7,stim", *rows]))
    got = read_recording(path)
    assert got.ch_names == ("TP9", "AF7")
    # A code that is held over two samples is one marker.
    assert [(m.text, m.sample) for m in got.markers] == [("1", 100), ("2", 500), ("1", 900)]


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    rows = [f"{i / 256:.6f},{i % 7},{i % 128},{80 + i % 2},0,{i % 5}" for i in range(1280)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["timestamps,AF3,numbers,CQ_AF3,flat,GYROX", *rows]))
    names, others = eeg_channels(read_recording(path))
    assert names == ("AF3", "flat")
    assert others == {"numbers": "it counts", "CQ_AF3": "contact quality", "GYROX": "motion"}

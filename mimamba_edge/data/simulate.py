"""Simulated EEG of a four-channel headband: for tests, the demo and benchmarks without data.

What a network can learn from it is the balance of alpha and beta rhythms, which differs by class in the
mean but overlaps from trial to trial. Everything else is nuisance: 1/f noise, blinks, mains, electrode
offsets, drift, a jittered clock. It says nothing about how well emotions can be recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.labels import LABELS, Trial, write_labels
from mimamba_edge.data.recording import TIMESTAMPS, Marker, Recording
from mimamba_edge.errors import OutputError
from mimamba_edge.files import whole_folder

__all__ = [
    "CH_NAMES",
    "CLASSES",
    "RAILS_UV",
    "SPREAD",
    "Person",
    "SimulatedRun",
    "digitised",
    "simulate_recording",
    "simulate_run",
    "state_gains",
    "write_dataset",
    "write_recording",
]

CH_NAMES = ("TP9", "AF7", "AF8", "TP10")
CLASSES = ("calm", "excited")
_ALPHA = {"calm": 1.0, "excited": 0.55}
_BETA = {"calm": 0.6, "excited": 1.15}
_REST = (0.75, 0.85)
"""Gains of alpha and beta between trials."""
SPREAD = 0.3
"""How much simulated people differ, see :meth:`Person.drawn`."""
_SPREAD = 0.25
"""Standard deviation of the log of a trial's rhythm amplitude: classes overlap."""
_ALPHA_UV = np.array([9.0, 5.0, 5.0, 9.0])
_BETA_UV = np.array([2.5, 3.5, 3.5, 2.5])
_BLINK_UV = np.array([6.0, 110.0, 110.0, 6.0])
_LSB_UV = 0.48828125
RAILS_UV = (-1000.0, 999.5)
"""Lowest and highest value that the headset gives."""
_SFREQ, _DEVICE_HZ = 256.0, 256.02
_PACKET = 12
_LEAD_S, _PAUSE_S = 4.0, 1.0
_STIMULI = 4
_ALPHA_HZ, _BETA_HZ = 10.0, 21.0
_ALPHA_BAND_HZ = (8.0, 12.5)


@dataclass(frozen=True)
class Person:
    """What differs from person to person.

    Attributes:
        alpha_hz: Frequency of the alpha rhythm.
        alpha: Factor of its strength.
        beta: Factor of the beta rhythm's strength.
        gain: Factor of all brain signal in each channel.
    """

    alpha_hz: float = _ALPHA_HZ
    alpha: float = 1.0
    beta: float = 1.0
    gain: tuple[float, ...] = (1.0,) * len(CH_NAMES)

    @classmethod
    def drawn(cls, spread: float, seed: Sequence[int]) -> Person:
        """Draw a person.

        Args:
            spread: Standard deviation of the log of the factors, and half that of the frequency in Hz.
            seed: Everything follows from it.
        """
        rng = np.random.default_rng(seed)
        logs = spread * rng.normal(size=2 + len(CH_NAMES))
        alpha, beta, *gain = (float(v) for v in np.exp(logs))
        hz = float(np.clip(_ALPHA_HZ + 2 * spread * rng.normal(), *_ALPHA_BAND_HZ))
        return cls(hz, alpha, beta, tuple(gain))


def _shaped(
    rng: np.random.Generator, n: int, gain: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return noise ``(n,)`` of unit deviation with the given amplitude spectrum over Hz."""
    freq = np.fft.rfftfreq(n, 1 / _SFREQ)
    x = np.fft.irfft(np.fft.rfft(rng.normal(size=n)) * gain(np.asarray(freq, np.float64)), n)
    return np.asarray(x / x.std())


def _pink(freq: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.maximum(freq, 0.3) ** -0.5)


def _rhythm(centre_hz: float, width_hz: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda freq: np.asarray(np.exp(-0.5 * ((freq - centre_hz) / width_hz) ** 2))


def _softened(gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a gain whose steps take 0.3 s: rhythms do not switch from one sample to the next."""
    soft = np.hanning(int(0.3 * _SFREQ) | 1)
    padded = np.pad(gain, len(soft) // 2, "edge")
    return np.convolve(padded, soft / soft.sum(), "valid")


def _timestamps(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Return times of ``n`` samples as a Bluetooth headset's are recorded: packets that come late."""
    delay = np.zeros(-(-n // _PACKET))
    late = rng.random(len(delay)) < 0.13
    push = np.where(late, rng.uniform(0.007, 0.016, len(delay)), 0.0)
    for i in range(1, len(delay)):
        delay[i] = min(0.021, 0.5 * delay[i - 1] + push[i])
    jitter = np.abs(rng.normal(0, 0.0007, len(delay)))
    t: NDArray[np.float64] = np.arange(n) / _DEVICE_HZ + np.repeat(delay + jitter, _PACKET)[:n]
    return np.round(rng.uniform(1e3, 1e5) + t, 3)


@dataclass(frozen=True)
class SimulatedRun:
    """What the signal of one run is made of, so that a source can choose the state while it is read.

    Attributes:
        ground: ``(n, c)`` microvolts: all but the two rhythms.
        alpha: ``(n, c)`` microvolts of the alpha rhythm at gain 1.
        beta: ``(n, c)`` microvolts of the beta rhythm at gain 1.
        gains: ``(n, 2)`` of the rhythms, as the trials have them.
        timestamps: ``(n,)`` seconds, as recorded.
        first: The first sample of each trial.
    """

    ground: NDArray[np.float64]
    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    gains: NDArray[np.float64]
    timestamps: NDArray[np.float64]
    first: tuple[int, ...]


def state_gains(label: str, rng: np.random.Generator) -> tuple[float, float]:
    """Return the gains of alpha and beta in a state: they overlap from trial to trial.

    Args:
        label: One of :data:`CLASSES`; anything else is rest.
        rng: What differs from trial to trial is drawn from it.
    """
    if label not in CLASSES:
        return _REST
    alpha = _ALPHA[label] * np.exp(rng.normal(0, _SPREAD))
    return float(alpha), float(_BETA[label] * np.exp(rng.normal(0, _SPREAD)))


def digitised(uv: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a signal ``(n, c)`` in microvolts as the headset's converter gives it."""
    return np.asarray(np.clip(np.round(uv / _LSB_UV) * _LSB_UV, *RAILS_UV), np.float64)


def _starts(labels: Sequence[str], trial_s: float) -> NDArray[np.float64]:
    """Return the second at which each trial starts."""
    return np.asarray(_LEAD_S + np.arange(len(labels)) * (trial_s + _PAUSE_S), np.float64)


def simulate_run(
    labels: Sequence[str], *, trial_s: float, seed: int | Sequence[int], person: Person | None = None
) -> SimulatedRun:
    """Simulate what the signal of one run is made of; arguments as of :func:`simulate_recording`."""
    rng, person = np.random.default_rng(seed), person or Person()
    starts = _starts(labels, trial_s)
    n = int((_LEAD_S + len(labels) * (trial_s + _PAUSE_S)) * _DEVICE_HZ)
    time = np.arange(n) / _DEVICE_HZ
    gains = np.tile(_REST, (n, 1))
    first = []
    for start, label in zip(starts, labels, strict=True):
        inside = (time >= start) & (time < start + trial_s)
        gains[inside] = state_gains(label, rng)
        first.append(int(np.argmax(inside)))
    gains = np.column_stack([_softened(column) for column in gains.T])
    alpha_rhythm, beta_rhythm = _rhythm(person.alpha_hz, 0.8), _rhythm(_BETA_HZ, 2.0)
    alpha, beta = _shaped(rng, n, alpha_rhythm), _shaped(rng, n, beta_rhythm)
    blinks = np.zeros(n)
    bump = np.hanning(int(0.3 * _SFREQ))
    for at in rng.integers(0, n - len(bump), rng.poisson(0.2 * n / _SFREQ)):
        blinks[at : at + len(bump)] = np.maximum(blinks[at : at + len(bump)], bump * rng.uniform(0.6, 1.2))
    common = _shaped(rng, n, _pink)
    phase = rng.uniform(0, 2 * np.pi)
    shape = (n, len(CH_NAMES))
    ground, alphas, betas = np.empty(shape), np.empty(shape), np.empty(shape)
    for c, gain in enumerate(person.gain):
        own = _shaped(rng, n, alpha_rhythm)
        ground[:, c] = rng.uniform(20, 40) + gain * (4 * common + 6 * _shaped(rng, n, _pink))
        alphas[:, c] = gain * person.alpha * _ALPHA_UV[c] * (0.8 * alpha + 0.6 * own)
        betas[:, c] = gain * person.beta * _BETA_UV[c] * (0.7 * beta + 0.7 * _shaped(rng, n, beta_rhythm))
        ground[:, c] += _BLINK_UV[c] * blinks + rng.uniform(2, 8) * np.sin(2 * np.pi * 50.0 * time + phase)
    return SimulatedRun(ground, alphas, betas, gains, _timestamps(rng, n), tuple(first))


def simulate_recording(
    labels: Sequence[str],
    *,
    trial_s: float = 4.0,
    seed: int | Sequence[int] = 0,
    path: Path = Path("simulated.csv"),
    person: Person | None = None,
) -> tuple[Recording, list[tuple[float, float]]]:
    """Simulate one run.

    Args:
        labels: Class of each trial, from :data:`CLASSES`.
        trial_s: Seconds of a trial; a second of rest stands between two.
        seed: Everything follows from it.
        path: What the recording says it was read from.
        person: Whose it is; everybody is alike by default.

    Returns:
        The recording, and start and stop of each trial in seconds from its first sample.
    """
    run = simulate_run(labels, trial_s=trial_s, seed=seed, person=person)
    uv = digitised(run.ground + run.gains[:, :1] * run.alpha + run.gains[:, 1:] * run.beta)
    times = run.timestamps
    markers = tuple(
        Marker(f"{CLASSES.index(label) + 1}", row, float(times[row] - times[0]))
        for label, row in zip(labels, run.first, strict=True)
    )
    recording = Recording(path, CH_NAMES, _SFREQ, uv, times, markers, RAILS_UV)
    return recording, [(float(s), float(s + trial_s)) for s in _starts(labels, trial_s)]


def write_recording(path: Path, recording: Recording) -> None:
    """Write a recording as muselsl does; its markers are numbers."""
    header = ",".join([TIMESTAMPS, *recording.ch_names, "Marker0"])
    column = np.zeros(len(recording.samples))
    for marker in recording.markers:
        column[marker.sample] = float(marker.text)
    table = np.column_stack([recording.timestamps, recording.samples, column])
    formats = ["%.3f"] * (table.shape[1] - 1) + ["%d"]
    np.savetxt(path, table, fmt=formats, delimiter=",", header=header, comments="")


def write_dataset(
    folder: Path,
    *,
    subjects: int = 1,
    sessions: int = 1,
    runs: int = 6,
    trials: int = 16,
    trial_s: float = 4.0,
    spread: float = 0.0,
    seed: int = 0,
    done: Callable[[], None] = lambda: None,
) -> list[Trial]:
    """Write a simulated data set: recordings and ``labels.csv``, all of it or nothing.

    Args:
        folder: Must not exist, or be empty.
        subjects: Number of subjects.
        sessions: Sessions of each subject.
        runs: Runs of each session, one file each.
        trials: Trials of each run, the classes in equal numbers and random order.
        trial_s: Seconds of a trial.
        spread: How much subjects differ, see :meth:`Person.drawn`; at 0 they are alike.
        seed: Everything follows from it.
        done: Called after each run.

    Raises:
        OutputError: The folder holds something, or cannot be written.
    """
    folder = Path(folder)
    _check_unused(folder)
    with whole_folder(folder) as temporary:
        table: list[Trial] = []
        for number in range(subjects * sessions * runs):
            session = number // runs
            rng = np.random.default_rng([seed, number])
            labels = [CLASSES[i % len(CLASSES)] for i in rng.permutation(trials)]
            name = f"run-{number + 1:02d}"
            person = Person.drawn(spread, [seed, session // sessions, 2])
            recording, times = simulate_recording(
                labels, trial_s=trial_s, seed=[seed, number, 1], person=person
            )
            write_recording(temporary / f"{name}.csv", recording)
            for label, (start, stop) in zip(labels, times, strict=True):
                stimulus = f"{label}-{rng.integers(_STIMULI) + 1}"
                subject = f"s{session // sessions + 1}"
                session_name = f"{subject}-{session % sessions + 1}"
                table.append(
                    Trial(
                        f"{name}.csv",
                        round(start, 3),
                        round(stop, 3),
                        label,
                        subject,
                        session_name,
                        name,
                        stimulus,
                    )
                )
            done()
        write_labels(temporary / LABELS, table)
    return table


def _check_unused(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(
            f"{folder} is not empty",
            got="a file or a folder with something in it",
            expected="a new or empty folder",
        )

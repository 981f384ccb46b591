"""The fields of a record that can be sent (``bench --record``), as far as they are checked and shown."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Board", "Clock", "Environment", "Machine", "Record", "Row"]


@dataclass(frozen=True)
class Clock:
    """A clock and its bounds in MHz.

    Attributes:
        current_mhz: When it was read.
        low_mhz: What it may fall to.
        high_mhz: What it may rise to.
    """

    current_mhz: float
    low_mhz: float
    high_mhz: float


@dataclass(frozen=True)
class Board:
    """State of a Jetson.

    Attributes:
        module: Name of the module.
        sm: Compute capability, such as 87.
        l4t: Release of Jetson Linux.
        jetpack: JetPack's version.
        power_mode: Mode of nvpmodel.
        gpu_clock_mhz: The GPU's clock.
        cpu_clock_mhz: The clock of each group of cores.
        clocks_locked: Whether jetson_clocks held them.
        temperature_c: Degrees Celsius by thermal zone.
        throttled: Units that are throttled by temperature.
        supply_alarms: How often since boot the supply slowed the clocks, by cause; ``None``: not counted.
        energy_rails: Rails whose power can be read; ``None``: none.
    """

    module: str
    sm: int
    l4t: str
    jetpack: str
    power_mode: str
    gpu_clock_mhz: Clock
    cpu_clock_mhz: list[Clock]
    clocks_locked: bool
    temperature_c: dict[str, float]
    throttled: list[str]
    supply_alarms: dict[str, int] | None
    energy_rails: list[str] | None


@dataclass(frozen=True)
class DiscreteGpu:
    """State of a discrete GPU, as its driver tells it.

    Attributes:
        name: Of the card.
        driver: Version of the driver.
        clock_mhz: Clock of its multiprocessors.
        max_clock_mhz: The highest that this can be.
        power_w: What it draws.
        temperature_c: Degrees Celsius.
        throttled: Why its clocks are slowed, if they are.
    """

    name: str
    driver: str
    clock_mhz: float | None
    max_clock_mhz: float | None
    power_w: float | None
    temperature_c: float | None
    throttled: list[str]


@dataclass(frozen=True)
class Machine:
    """What something ran on.

    Attributes:
        time: Start of the run, UTC.
        device: Name of the processor or module.
        architecture: Of the processor.
        cores: Cores that could be used.
        memory_bytes: Its memory; ``None``: it could not be read.
        system: Operating system and kernel.
        python: Version of Python.
        versions: Versions of packages; ``None``: not installed.
        commit: Of the checkout; ``None``: an installed package.
        dirty: Whether the checkout had local changes.
    """

    time: str
    device: str
    architecture: str
    cores: int
    memory_bytes: int | None
    system: str
    python: str
    versions: dict[str, str | None]
    commit: str | None
    dirty: bool | None


@dataclass(frozen=True)
class Environment(Machine):
    """The machine, before and after the run.

    Attributes:
        board: A Jetson before the run, ``None`` elsewhere.
        board_after: The same after it.
        gpus: Discrete GPUs before the run.
        gpus_after: The same after it.
    """

    board: Board | None
    board_after: Board | None
    gpus: list[DiscreteGpu] | None
    gpus_after: list[DiscreteGpu] | None


@dataclass(frozen=True)
class Gate:
    """Bounds that the outputs kept.

    Attributes:
        precision: Which bounds: those of this precision.
        sqnr_db: Signal-to-noise ratio of at least this.
    """

    precision: str
    sqnr_db: float


@dataclass(frozen=True)
class Verification:
    """What the outputs were compared with before anything was timed.

    Attributes:
        against: What gave the right outputs.
        n_windows: Windows compared.
        sqnr_db: Signal-to-noise ratio in dB.
        gate: Bounds.
    """

    against: str
    n_windows: int
    sqnr_db: float
    gate: Gate


@dataclass(frozen=True)
class Rail:
    """Power of one rail.

    Attributes:
        idle_mw: Before the runs, in milliwatts; ``None``: not measured.
        mean_mw: During the runs, in milliwatts.
        mj_per_run: Energy of a run in millijoules, with the idle power in it.
    """

    idle_mw: float | None
    mean_mw: float
    mj_per_run: float


@dataclass(frozen=True)
class Energy:
    """Energy of runs back to back.

    Attributes:
        runs: How many.
        seconds: How long they took.
        rails: What each rail gave.
    """

    runs: int
    seconds: float
    rails: dict[str, Rail]


@dataclass(frozen=True)
class Row:
    """One runner at one batch size.

    Attributes:
        artifact: Name of the model's file.
        sha256: Of that file.
        runner: What ran it.
        precision: What it computes in.
        batch: Windows a run.
        threads: Threads of one operation.
        machine: Fingerprint of the environment that it was measured in.
        verified: Whether its outputs were right.
        verification: How that was found out.
        min_ms: Shortest of the runs back to back.
        p50_ms: Median of them.
        p90_ms: 90 % of them took at most this.
        p99_ms: 99 % of them took at most this.
        max_ms: Longest of them.
        n_runs: Runs back to back.
        unstable: Whether blocks of runs differed.
        paced_p50_ms: Median at a stream's pace, ``None`` at other batch sizes than 1.
        paced_p90_ms: As ``p90_ms``, at that pace.
        paced_p99_ms: As ``p99_ms``, at that pace.
        paced_max_ms: As ``max_ms``, at that pace.
        paced_period_ms: Time from one window to the next.
        paced_runs: Runs at that pace.
        energy: Energy of a run; ``None`` where no rail can be read.
        plan_sha256: Of the TensorRT plan that ran.
        plugin_sha256: Of the library of custom ops that ran.
    """

    artifact: str
    sha256: str
    runner: str
    precision: str
    batch: int
    threads: int
    machine: str
    verified: bool
    verification: Verification
    min_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    n_runs: int
    unstable: bool
    paced_p50_ms: float | None
    paced_p90_ms: float | None
    paced_p99_ms: float | None
    paced_max_ms: float | None
    paced_period_ms: float | None
    paced_runs: int | None
    energy: Energy | None
    plan_sha256: str | None
    plugin_sha256: str | None


@dataclass(frozen=True)
class Record:
    """The record of a benchmark on one machine.

    Attributes:
        made_by: The command.
        format: Of this file.
        environment: The machine.
        input: Shape of a window.
        rows: What was measured.
    """

    made_by: str
    format: int
    environment: Environment
    input: list[int]
    rows: list[Row]

"""The record of a benchmark that its maker can send: what ``bench --record`` writes, and what is refused."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mimamba_edge.bench.measure import Budget
from mimamba_edge.bench.record_format import Board, Clock, Environment, Record, Row
from mimamba_edge.bench.run import FORMAT
from mimamba_edge.errors import GateError
from mimamba_edge.machine.jetson import JETPACK_OF_L4T
from mimamba_edge.machine.modules import module_of
from mimamba_edge.machine.redact import personal_texts, redacted
from mimamba_edge.parity.compare import OTHERS_DB
from mimamba_edge.parity.gates import GATES
from mimamba_edge.runtime.ort import NATIVE
from mimamba_edge.strict_json import Malformed, convert

__all__ = ["BUDGET", "make_submission", "problems"]

BUDGET = Budget(paced_runs=200)
"""A stream's tail needs more than the ten paced runs of an ordinary ``bench``."""
_LACKS = re.compile(r"^(?:(.+): )?Object missing required field (\w+)$")
"""What :mod:`mimamba_edge.strict_json` says of a field that is not there."""
_LEAST_RUNS = 100
"""Of a p99."""
_LEAST_MS, _MOST_MS = 0.002, 600_000.0
"""A call of any runner from Python takes some microseconds, as does a launch of a kernel."""
_RUNNER = re.compile(r"(onnxruntime-(cpu|cuda|tensorrt)|tensorrt|torch|openvino)(-[a-z0-9-]+)?")
_MOST_MW = 500_000.0
_MOST_MHZ = 7000.0
_CELSIUS = (-40.0, 125.0)
_TOLERANCE = 0.05
"""A clock that is counted, not read from a table, is a little beside its bounds."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _fingerprint(environment: Mapping[str, Any]) -> str:
    """Return what all rows of one machine share: a hash of its kind, not of its serial number."""
    board = environment.get("board") or {}
    kind = {name: environment.get(name) for name in ("device", "architecture", "cores", "memory_bytes")}
    kind |= {name: environment.get(name) for name in ("system", "python", "versions")}
    kind |= {name: board.get(name) for name in ("module", "sm", "l4t", "jetpack", "power_mode")}
    kind["gpus"] = [(gpu["name"], gpu["driver"]) for gpu in environment.get("gpus") or []]
    return hashlib.sha256(json.dumps(kind, sort_keys=True).encode()).hexdigest()[:16]


def make_submission(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of :func:`mimamba_edge.bench.run.run_bench` as it can be sent.

    It holds the rows that were timed, without the latency of every run, and nothing that names a person, a
    folder or a single machine.

    Raises:
        GateError: It would be refused; each field is named.
    """
    personal = personal_texts()
    whole = redacted({"made_by": "mimamba-edge bench", **record}, personal)
    source = "recordings" if record["windows"]["kind"] == "recordings" else record["windows"]["source"]
    windows = whole["windows"] = {**whole["windows"], "source": Path(source).name}
    machine = _fingerprint(whole["environment"])
    rows = []
    for row in record["rows"]:
        if row["p50_ms"] is None:
            continue
        kept = {key: value for key, value in row.items() if key != "latencies_ms"}
        kept |= {"artifact": Path(row["artifact"]).name, "windows": windows, "machine": machine}
        rows.append(redacted(kept, personal))
    made = {**whole, "rows": rows}
    if found := problems(json.loads(json.dumps(made))):
        raise GateError("no record was written, because it would be refused:\n  " + "\n  ".join(found))
    return made


def _missing(found: re.Match[str]) -> str:
    return f"{found[1]}.{found[2]}: missing" if found[1] else f"{found[2]}: missing"


def problems(value: Mapping[str, Any]) -> list[str]:
    """Return why a record is refused, each beginning with the field's name; empty if it is right."""
    try:
        record = convert(dict(value), Record, closed=False)
    except Malformed as error:
        return [_LACKS.sub(_missing, str(error))]
    machine = _fingerprint(value["environment"])
    return [
        *_about(record),
        *_repeated(record),
        *_machine(record.environment),
        *(line for index, row in enumerate(record.rows) for line in _row(row, f"rows[{index}]", machine)),
        *_runners(record),
        *_energies(record),
        *_private(value),
    ]


def _about(record: Record) -> Iterator[str]:
    if record.format != FORMAT:
        yield f"format: {record.format}, expected {FORMAT}"
    if record.made_by != "mimamba-edge bench":
        yield "made_by: not written by bench --record"
    env = record.environment
    if env.dirty:
        yield "environment.dirty: measured in a checkout with local changes"
    if not env.versions.get("mimamba-edge"):
        yield "environment.versions.mimamba-edge: missing"
    yield from _time(env.time)
    for name in ("device", "system", "python"):
        if not getattr(env, name).strip():
            yield f"environment.{name}: empty"
    yield from _within("environment.cores", env.cores, 1, 4096)
    if env.memory_bytes is not None:
        yield from _within("environment.memory_bytes", env.memory_bytes, 1 << 28, 1 << 44)
    if not record.input or any(size < 1 for size in record.input):
        yield f"input: {record.input} is no shape of a window"
    if not record.rows:
        yield "rows: none was timed"
    elif all(row.batch != 1 for row in record.rows):
        yield "rows: none of batch 1, which a stream runs"


def _time(text: str) -> Iterator[str]:
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        yield "environment.time: no time of ISO 8601"
        return
    now = datetime.datetime.now(datetime.timezone.utc)
    if when.tzinfo is None or when.year < 2026 or when > now + datetime.timedelta(days=1):
        yield f"environment.time: {text} cannot be, expected a time in UTC from 2026 to now"


def _repeated(record: Record) -> Iterator[str]:
    seen: dict[tuple[object, ...], int] = {}
    for index, row in enumerate(record.rows):
        key = (row.artifact, row.sha256, row.runner, row.precision, row.batch, row.threads)
        if key in seen:
            yield f"rows[{index}]: the same model, runner and batch as rows[{seen[key]}]"
        seen.setdefault(key, index)


def _machine(env: Environment) -> Iterator[str]:
    boards = {"environment.board": env.board, "environment.board_after": env.board_after}
    if (env.board is None) != (env.board_after is None):
        yield "environment.board_after: mixes machines: a Jetson before or after the run only"
    for name, board in boards.items():
        if board is not None:
            yield from _board(board, name)
            if env.architecture != "aarch64":
                yield f"environment.architecture: mixes machines: {env.architecture} is no Jetson"
            if env.device != board.module:
                yield f"environment.device: mixes machines: {env.device}, but {name}.module is {board.module}"
            if module := module_of(board.module, board.sm):
                yield from _within("environment.cores", env.cores, 1, module.cores)
                yield from _within(
                    "environment.memory_bytes", env.memory_bytes or 0, 0, module.memory_gib << 30
                )
    if env.board and env.board_after:
        for field in ("module", "sm", "l4t", "jetpack", "power_mode"):
            before, after = getattr(env.board, field), getattr(env.board_after, field)
            if before != after:
                yield f"environment.board_after.{field}: mixes machines or modes: {before} became {after}"
    before_gpus = [(gpu.name, gpu.driver) for gpu in env.gpus or []]
    if before_gpus != [(gpu.name, gpu.driver) for gpu in env.gpus_after or []]:
        yield "environment.gpus_after: mixes machines: other GPUs than before the run"
    for name, gpus in (("gpus", env.gpus), ("gpus_after", env.gpus_after)):
        for index, gpu in enumerate(gpus or []):
            at = f"environment.{name}[{index}]"
            if gpu.clock_mhz is not None:
                bound = gpu.max_clock_mhz or _MOST_MHZ
                yield from _within(f"{at}.clock_mhz", gpu.clock_mhz, 0, bound * (1 + _TOLERANCE))
            yield from _heat(f"{at}.temperature_c", gpu.temperature_c)


def _board(board: Board, at: str) -> Iterator[str]:
    module = module_of(board.module, board.sm)
    if module is None or module.sm != board.sm:
        yield f"{at}.sm: {board.sm} is not {module.name if module else 'a Jetson'}'s"
    for name in ("l4t", "jetpack", "power_mode"):
        if not getattr(board, name).strip():
            yield f"{at}.{name}: empty"
    if board.l4t in JETPACK_OF_L4T and board.jetpack.split(".")[0] != JETPACK_OF_L4T[board.l4t].split(".")[0]:
        yield f"{at}.jetpack: {board.jetpack} is not of Jetson Linux {board.l4t}"
    gpu = module.gpu_mhz if module else _MOST_MHZ
    cpu = module.cpu_mhz if module else _MOST_MHZ
    name = module.name if module else ""
    yield from _clock(board.gpu_clock_mhz, f"{at}.gpu_clock_mhz", gpu, name)
    if not board.cpu_clock_mhz:
        yield f"{at}.cpu_clock_mhz: missing"
    for index, clock in enumerate(board.cpu_clock_mhz):
        yield from _clock(clock, f"{at}.cpu_clock_mhz[{index}]", cpu, name)
    held = [board.gpu_clock_mhz, *board.cpu_clock_mhz]
    if board.clocks_locked != all(clock.low_mhz == clock.high_mhz for clock in held):
        yield f"{at}.clocks_locked: {board.clocks_locked}, but the clocks' bounds say otherwise"
    if not board.temperature_c:
        yield f"{at}.temperature_c: missing"
    for zone, celsius in board.temperature_c.items():
        yield from _heat(f"{at}.temperature_c.{zone}", celsius)


def _clock(clock: Clock, at: str, most: float, module: str) -> Iterator[str]:
    if not 1 <= clock.high_mhz <= most * (1 + _TOLERANCE):
        bound = f"the highest of this module ({module}) is {most:g}" if module else f"expected 1 to {most:g}"
        yield f"{at}.high_mhz: {clock.high_mhz:g} is impossible, {bound}"
    yield from _within(f"{at}.low_mhz", clock.low_mhz, 0, clock.high_mhz)
    low, high = clock.low_mhz * (1 - _TOLERANCE), clock.high_mhz * (1 + _TOLERANCE)
    yield from _within(f"{at}.current_mhz", clock.current_mhz, low, high)


def _heat(at: str, celsius: float | None) -> Iterator[str]:
    if celsius is not None:
        yield from _within(at, celsius, *_CELSIUS)


def _within(at: str, value: float, low: float, high: float) -> Iterator[str]:
    if not low <= value <= high:
        yield f"{at}: {value:g} is impossible, expected {low:g} to {high:g}"


def _row(row: Row, at: str, machine: str) -> Iterator[str]:
    if row.machine != machine:
        yield f"{at}.machine: mixes machines: measured in another environment than the record's"
    for name in ("sha256", "plan_sha256", "plugin_sha256"):
        text = getattr(row, name)
        if text is not None and not _SHA256.fullmatch(text):
            yield f"{at}.{name}: no SHA-256"
    tensorrt = row.runner.startswith("tensorrt")
    if tensorrt and row.plan_sha256 is None:
        yield f"{at}.plan_sha256: missing"
    if (tensorrt or row.runner.endswith(NATIVE)) and row.plugin_sha256 is None:
        yield f"{at}.plugin_sha256: missing"
    yield from _verified(row, at)
    yield from _within(f"{at}.batch", row.batch, 1, 1 << 20)
    yield from _within(f"{at}.threads", row.threads, 0, 4096)
    yield from _ascending(row, at, ("min_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms"))
    if row.n_runs < _LEAST_RUNS:
        yield f"{at}.n_runs: {row.n_runs}, expected at least {_LEAST_RUNS}"
    # Blocks of runs end at the limit, so the last one may go beyond it.
    limit_ms = (BUDGET.most_s + BUDGET.block_s) * 1e3 + row.max_ms
    if row.n_runs * row.min_ms > 2 * limit_ms:
        yield f"{at}.n_runs: {row.n_runs} is impossible: of {row.min_ms:g} ms, longer than bench runs"
    if row.batch == 1:
        names = ("paced_p50_ms", "paced_p90_ms", "paced_p99_ms", "paced_max_ms")
        missing = [name for name in (*names, "paced_period_ms") if getattr(row, name) is None]
        yield from (f"{at}.{name}: missing (only a model with a contract has a pace)" for name in missing)
        if not missing:
            yield from _ascending(row, at, names)
            yield from _within(f"{at}.paced_period_ms", row.paced_period_ms or 0.0, 0.1, _MOST_MS)
        if (row.paced_runs or 0) < _LEAST_RUNS:
            yield f"{at}.paced_runs: {row.paced_runs}, expected at least {_LEAST_RUNS}"


def _verified(row: Row, at: str) -> Iterator[str]:
    done, order = row.verification, list(GATES)
    if not row.verified:
        yield f"{at}.verified: false: its outputs were not compared with the reference, or differ from it"
    if done.n_windows < 1:
        yield f"{at}.verification.n_windows: {done.n_windows}"
    at = f"{at}.verification"
    if row.precision not in GATES or done.gate.precision not in GATES:
        yield f"{at}.gate.precision: {done.gate.precision} for {row.precision}, expected {', '.join(order)}"
    elif order.index(done.gate.precision) > order.index(row.precision):
        yield f"{at}.gate.precision: {done.gate.precision} allows more than {row.precision}"
    else:
        # Networks of others are held to less than our own (mimamba_edge.parity.compare).
        least = min(GATES[done.gate.precision].sqnr_db, OTHERS_DB)
        if done.gate.sqnr_db < least:
            yield f"{at}.gate.sqnr_db: {done.gate.sqnr_db:g}, expected at least {least:g}"
        if done.sqnr_db < done.gate.sqnr_db:
            yield f"{at}.sqnr_db: {done.sqnr_db:g}, expected at least {done.gate.sqnr_db:g}"


def _ascending(row: Row, at: str, names: Sequence[str]) -> Iterator[str]:
    values = [float(getattr(row, name)) for name in names]
    yield from _within(f"{at}.{names[0]}", values[0], _LEAST_MS, _MOST_MS)
    yield from _within(f"{at}.{names[-1]}", values[-1], 0, _MOST_MS)
    for index in range(1, len(names)):
        if values[index] < values[index - 1]:
            less = f"it is below {names[index - 1]}, {values[index - 1]:g}"
            yield f"{at}.{names[index]}: {values[index]:g} is impossible, {less}"


def _runners(record: Record) -> Iterator[str]:
    env = record.environment
    for index, row in enumerate(record.rows):
        if not _RUNNER.fullmatch(row.runner):
            yield f"rows[{index}].runner: {row.runner} is none of bench's"
        elif re.match(r"tensorrt|onnxruntime-(cuda|tensorrt)", row.runner) and not (env.board or env.gpus):
            yield f"rows[{index}].runner: {row.runner} on a machine without a GPU"


def _energies(record: Record) -> Iterator[str]:
    board, after = record.environment.board, record.environment.board_after
    known = {name for one in (board, after) if one for name in one.energy_rails or []}
    for index, row in enumerate(record.rows):
        at = f"rows[{index}].energy"
        if row.energy is None:
            if board is not None and board.energy_rails:
                yield f"{at}: missing, though {', '.join(board.energy_rails)} can be read"
            continue
        energy = row.energy
        yield from _within(f"{at}.runs", energy.runs, 1, 1 << 40)
        yield from _within(f"{at}.seconds", energy.seconds, 1e-6, 86_400)
        if energy.runs < 1:
            continue
        ms = energy.seconds / energy.runs * 1e3
        if ms < row.min_ms / 2:
            yield f"{at}.runs: {energy.runs} in {energy.seconds:g} s is impossible: faster than min_ms"
        for name, rail in energy.rails.items():
            if name not in known:
                yield f"{at}.rails.{name}: mixes machines: not a rail of this board"
            yield from _within(f"{at}.rails.{name}.mean_mw", rail.mean_mw, 0, _MOST_MW)
            yield from _within(f"{at}.rails.{name}.idle_mw", rail.idle_mw or 0.0, 0, _MOST_MW)
            # What a rail takes in a run is its power times the time of a run.
            if not math.isclose(rail.mj_per_run * 1e3, rail.mean_mw * ms, rel_tol=0.01, abs_tol=1e-6):
                yield f"{at}.rails.{name}.mj_per_run: not its power times the time of a run"


def _private(value: Any, at: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, held in value.items():
            if redacted(str(name), {}) != str(name):
                yield f"{at or 'the whole'}: a name in it holds a folder, an address or a serial number"
            yield from _private(held, f"{at}.{name}" if at else str(name))
    elif isinstance(value, list):
        for index, held in enumerate(value):
            yield from _private(held, f"{at}[{index}]")
    elif isinstance(value, str) and redacted(value, {}) != value:
        yield f"{at}: holds a folder, an address or a serial number"

"""What ``stream`` does: opens model, sources and sinks, serves, tells how it ended."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mimamba_edge.console import printable
from mimamba_edge.stream.signals import taken_signals

if TYPE_CHECKING:
    from mimamba_edge.contract import Contract
    from mimamba_edge.stream.engine import StreamEngine
    from mimamba_edge.stream.options import StreamOptions
    from mimamba_edge.stream.sources.base import Source

__all__ = ["Request", "serve", "stopped_by_signals"]

_INTERRUPTED = 130


@dataclass(frozen=True)
class Request:
    """What a user asked ``stream`` for, as the options of the verb."""

    model: str
    sources: Sequence[str]
    sinks: Sequence[str]
    channel_map: Sequence[str]
    record: Path | None
    yes: bool
    page: tuple[str, int] | None
    seconds: float | None
    speed: str
    smooth_s: float
    hysteresis: float
    profile: Path | None
    mains_hz: float | None
    provider: str
    threads: int
    deadline_ms: float | None


def serve(request: Request) -> int:
    """Serve the streams that were asked for.

    Returns:
        The exit code: 0, or 130 after Ctrl-C.

    Raises:
        MimambaError: Something cannot be opened, the model or a sink failed, the last source failed, or no
            stream had a window.
    """
    from mimamba_edge.load import EXPORTED, load_model
    from mimamba_edge.runtime.base import Runner
    from mimamba_edge.stream.engine import StreamEngine
    from mimamba_edge.stream.outcome import check_outcome, describe
    from mimamba_edge.stream.reload import ModelFile
    from mimamba_edge.stream.service_manager import ServiceManager
    from mimamba_edge.stream.sinks.spec import check_sink, open_sink
    from mimamba_edge.stream.sources.spec import check_source

    specs = _sink_specs(request)
    if any(spec.startswith("record:") for spec in specs):
        from mimamba_edge.sessions.consent import confirm_recording

        confirm_recording(yes=request.yes)
    options = _options(request)
    # What is wrong by its name alone is told before the model, and with it torch, is loaded.
    for spec in request.sources:
        check_source(spec)
    for spec in specs:
        check_sink(spec)
    most = len(request.sources)
    manager = ServiceManager.of_environment()

    def reopen() -> Runner:
        batches = (1, most)
        return load_model(request.model, provider=request.provider, threads=request.threads, batches=batches)

    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(reopen())
        sources = [stack.enter_context(_opened(spec, request.speed)) for spec in request.sources]
        sinks = [open_sink(spec) for spec in specs]
        engine = StreamEngine(
            runner,
            sources,
            sinks=sinks,
            options=options,
            model=ModelFile(Path(request.model), reopen if request.model.endswith(EXPORTED) else None),
            note=_note,
            decided=manager.decided,
        )
        _tell_mains(engine, runner.contract)
        if unlike := runner.contract.unlike_live():
            _note(
                f"this model was trained on another kind of signal ({'; '.join(unlike)}): what it scored "
                "there does not hold for this one"
            )
        with stopped_by_signals(engine) as stopped:
            engine.begin()
            for told in filter(None, (sink.begun() for sink in sinks)):
                _note(told)
            if not request.sinks and "jsonl:-" not in specs:
                _note("decisions are shown on the page only; to print them here too: --sink jsonl:-")
            # What start-up left behind is never garbage: without it no collection takes longer than a window.
            gc.collect()
            gc.freeze()
            stack.callback(gc.unfreeze)
            manager.ready()
            summary = engine.run(request.seconds)
        manager.stopping()
        if not engine.left_alone:
            sys.stderr.write(describe(summary) + "\n")
        if engine.sink_failure is not None:
            raise engine.sink_failure  # what was asked for was not delivered, however the streams ended
        if not stopped and not engine.left_alone:
            check_outcome(summary, engine.failures, runner.contract, engine.ended_by)
        return _INTERRUPTED if signal.SIGINT in stopped else 0


def _options(request: Request) -> StreamOptions:
    from mimamba_edge.profile import Profile
    from mimamba_edge.stream.names import parse_map
    from mimamba_edge.stream.options import DEADLINE_MS, StreamOptions

    return StreamOptions(
        channel_map=parse_map(request.channel_map),
        mains_hz=request.mains_hz,
        smooth_s=request.smooth_s,
        hysteresis=request.hysteresis,
        profile=None if request.profile is None else Profile.load(request.profile),
        deadline_ms=DEADLINE_MS if request.deadline_ms is None else request.deadline_ms,
    )


@contextlib.contextmanager
def _opened(spec: str, speed: str) -> Iterator[Source]:
    from mimamba_edge.stream.sources.spec import open_source

    source = open_source(spec, speed=speed)
    try:
        yield source
    finally:
        source.close()


def _sink_specs(request: Request) -> list[str]:
    """Return all sinks that were asked for, as ``--sink`` names them."""
    # Where stdout goes to a file or a program, it was asked for. On a terminal the lines would bury the
    # address of the page, which shows the same.
    shown = request.page is not None and sys.stdout.isatty()
    specs = list(request.sinks) or ([] if shown else ["jsonl:-"])
    if request.record is not None:
        specs.append(f"record:{request.record}")
    if request.page is not None:
        host, port = request.page
        specs.append(f"page:{host}:{port}")
    return specs


def _note(text: str) -> None:
    sys.stderr.write("\n".join(printable(line, 1000) for line in text.splitlines()) + "\n")


def _tell_mains(engine: StreamEngine, contract: Contract) -> None:
    mains_hz = engine.infos[0].mains_hz
    if mains_hz != contract.mains_hz:
        trained = "none" if contract.mains_hz is None else f"{contract.mains_hz:g} Hz"
        _note(f"mains: notch at {mains_hz:g} Hz; the training had {trained}")


@contextlib.contextmanager
def stopped_by_signals(engine: StreamEngine) -> Iterator[list[int]]:
    """End the streams in good order at the first Ctrl-C, hang-up or termination; the list then holds it."""
    came: list[int] = []

    def handle(number: int, restore: Callable[[], None]) -> None:
        came.append(number)
        engine.stop()
        restore()  # a second one does what it always did

    with taken_signals(handle):
        yield came

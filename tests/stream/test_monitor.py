from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from mimamba_edge.machine.discrete import Gpu
from mimamba_edge.stream import monitor as watch
from mimamba_edge.stream.monitor import Monitor, machine_state


def test_it_looks_until_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.001)
    looks, machines, enough = [0], [0], threading.Event()

    def look() -> None:
        looks[0] += 1
        if looks[0] == 50:
            enough.set()

    def machine() -> dict[str, Any]:
        machines[0] += 1
        return {"throttled": [], "turn": machines[0]}

    watching = Monitor(look, machine)
    watching.start()
    assert enough.wait(30)
    watching.close()
    assert watching.machine == {"throttled": [], "turn": machines[0]}
    assert looks[0] // 5 <= machines[0] <= looks[0] // 5 + 2


def test_what_ends_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.001)

    def look() -> None:
        raise ZeroDivisionError

    watching = Monitor(look, lambda: None)
    watching.start()
    until = time.monotonic() + 30
    while watching.fault is None and time.monotonic() < until:
        time.sleep(0.001)
    assert isinstance(watching.fault, ZeroDivisionError)
    watching.close()


def test_what_holds_the_clocks_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Gpu("x", "1", 87, None, None, None, None, 71.5, None, None, ("thermal slowdown (software)",))
    monkeypatch.setattr(watch, "gpus", lambda: [card])
    monkeypatch.setattr(watch, "temperatures", lambda: {"cpu": 60.0})
    monkeypatch.setattr(watch, "throttled", lambda: ["cpu"])
    monkeypatch.setattr(watch, "alarms", lambda: {"under-voltage": 2})
    assert machine_state() == {
        "throttled": ["cpu", "gpu: thermal slowdown (software)"],
        "alarms": {"under-voltage": 2},
        "hottest_c": 71.5,
    }
    monkeypatch.setattr(watch, "gpus", lambda: [])
    monkeypatch.setattr(watch, "temperatures", lambda: {})
    monkeypatch.setattr(watch, "alarms", lambda: None)
    assert machine_state() is None

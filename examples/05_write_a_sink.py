"""Write a sink: decisions go wherever you say. This one counts labels, under --sink count:NAME.

    python examples/05_write_a_sink.py

A sink is a class and open_spec(rest) in one module, and that module's name in the table SINKS.
"""

from collections import Counter
from pathlib import Path

from mimamba_edge import Decision, Sink, builtin_model, simulate_recording
from mimamba_edge.cli import main
from mimamba_edge.data.simulate import write_recording
from mimamba_edge.stream.sinks.spec import SINKS


class CountSink(Sink):
    """Counts labels; the other methods of Sink hear of samples, notices and counters."""

    def __init__(self, name: str) -> None:
        self.name, self._counts = name, Counter[str | None]()

    def decision(self, decision: Decision) -> None:
        """Take one."""
        self._counts[decision.label] += 1

    def close(self) -> None:
        """Tell what was counted."""
        print(f"{self.name}: {dict(self._counts)}")


def open_spec(rest: str) -> Sink:
    return CountSink(rest)


SINKS["count"] = __name__
write_recording(Path("a.csv"), simulate_recording(["calm", "excited"])[0])
main(["stream", str(builtin_model()), "--source", "a.csv", "--speed", "max", "--sink", "count:labels"])

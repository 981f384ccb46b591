"""Pages of the Python interface: every public name, by what it is for; the text is that of the docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import mimamba_edge

from .markdown import cell, table, toctree

GROUPS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "models": (
        "Models and runners",
        "A model's file becomes a runner, whatever runs it.",
        """import numpy as np

from mimamba_edge import builtin_model, load_model

with load_model(builtin_model()) as model:
    windows = np.zeros((2, model.contract.n_chans, model.contract.n_times), np.float32)  # scaled
    print(model.contract.class_names, model.logits(windows))
""",
        ("load_model", "builtin_model", "Runner", "StatefulRunner", "Contract"),
    ),
    "stream": (
        "Samples in, decisions out",
        "What `stream` does, for a program that has samples of its own.",
        """from mimamba_edge import Decoder, builtin_model, simulate_recording

recording, _ = simulate_recording(["calm", "excited"], seed=1)
with Decoder(builtin_model(), recording.ch_names, recording.sfreq) as decoder:
    for decision in decoder.push(recording.samples, recording.timestamps):
        print(f"{decision.t_s:.2f} s: {decision.label or decision.reason}")
""",
        ("Decoder", "StreamOptions", "Decision", "Sink"),
    ),
    "data": (
        "Recordings and data sets",
        "Files of all kinds that are read, arrays, and simulated EEG.",
        """from mimamba_edge import read_recording

recording = read_recording("mine.csv")
print(recording.ch_names, recording.sfreq, recording.duration_s)
""",
        ("read_recording", "Recording", "ArrayDataset", "simulate_recording"),
    ),
    "workstation": (
        "Train, export, quantise",
        'What the verbs of the same names do. They need `pip install ".[cpu,export]"`.',
        """from mimamba_edge import export_model, quantize_model, train_model

train_model("recordings", "ckpt.pt")
export_model("ckpt.pt", "model.onnx", data="recordings")
quantize_model("model.onnx", "fp16", data="recordings")
""",
        ("train_model", "export_model", "export_module", "quantize_model"),
    ),
    "research": (
        "For harnesses of others",
        'The network for scikit-learn and for PyTorch. They need `pip install ".[export,research]"`.',
        """from mimamba_edge import MSiMambaClassifier

network = MSiMambaClassifier(sfreq=128.0, random_state=0).fit(X, y)  # X: (n, n_chans, n_times)
""",
        ("MSiMambaClassifier", "MSiMamba"),
    ),
}
"""Page, title, what for, example, names."""
TABLES = {
    "RUNNERS": "mimamba_edge.load",
    "SOURCES": "mimamba_edge.stream.sources.spec",
    "SINKS": "mimamba_edge.stream.sinks.spec",
    "FORMATS": "mimamba_edge.data.recording",
    "DATASETS": "mimamba_edge.data.dataset",
    "FAMILIES": "mimamba_edge.family",
}
"""The tables to which a program adds kinds of its own, and their modules."""

TYPES = {
    "Signature": "mimamba_edge.signature",
    "Tensor": "mimamba_edge.signature",
    "State": "mimamba_edge.signature",
    "Filter": "mimamba_edge.contract",
    "Scaling": "mimamba_edge.contract",
    "Profile": "mimamba_edge.profile",
    "Marker": "mimamba_edge.data.recording",
    "Dataset": "mimamba_edge.data.dataset",
    "Person": "mimamba_edge.data.simulate",
    "Window": "mimamba_edge.signal.preprocessor",
    "Chunk": "mimamba_edge.stream.sources.base",
    "Notice": "mimamba_edge.stream.sources.base",
    "StreamInfo": "mimamba_edge.stream.sinks.base",
    "ExportResult": "mimamba_edge.export.onnx.export",
    "ModuleExport": "mimamba_edge.export.foreign.export",
    "QuantizeResult": "mimamba_edge.export.api",
    "Evaluation": "mimamba_edge.export.quantize.evaluate",
    "ModelConfig": "mimamba_edge.export.families.msimamba",
}
"""What public functions take and give besides public names, and their modules."""


def errors() -> list[str]:
    """Return the public errors, the base first."""
    found = [name for name in mimamba_edge.__all__ if name.endswith("Error")]
    return sorted(found, key=lambda name: (name != "MimambaError", name))


def documented() -> set[str]:
    """Return the public names that have an entry."""
    return {*errors(), *(name for *_, names in GROUPS.values() for name in names)}


def summary(thing: Any) -> str:
    """Return the first paragraph of a docstring as a cell."""
    return cell((inspect.getdoc(thing) or "").split("\n\n")[0].replace("``", "`"))


def _entry(name: str, home: str = "mimamba_edge") -> str:
    thing = getattr(__import__(home, fromlist=[name]), name)
    kind = "class" if isinstance(thing, type) else "function"
    return f"## {name}\n\n```{{eval-rst}}\n.. auto{kind}:: {home}.{name}\n```\n"


def _group(title: str, what: str, example: str, names: Sequence[str]) -> str:
    parts = [f"# {title}\n", f"{what}\n", f"```python\n{example}```\n", *map(_entry, names)]
    return "\n".join(parts)


def _errors() -> str:
    rows = [(f"[`{name}`](#{name.lower()})", summary(getattr(mimamba_edge, name))) for name in errors()]
    return "\n".join(
        [
            "# Errors\n",
            "Every error that a user can cause or meet is a `MimambaError`. Its text says what happened,",
            "what was got, what was expected and what to do. On the command line it has no traceback.\n",
            table(("error", "when"), rows),
            *map(_entry, errors()),
        ]
    )


def _tables() -> str:
    parts = [
        "# Tables to add to\n",
        "A program adds a kind of its own with one line: the name of a module with the function asked for.",
        "[Adding a part](../../extending.md) walks through one of each kind.\n",
    ]
    for name, home in TABLES.items():
        held = getattr(__import__(home, fromlist=[name]), name)
        parts.append(f"## {name}\n\n`from {home} import {name}`\n")
        if isinstance(held, dict):
            parts.append(
                table(("kind", "module"), [(f"`{kind}`", f"`{where}`") for kind, where in held.items()])
            )
        else:
            rows = [
                (one.what, ", ".join(f"`{end}`" for end in one.suffixes), f"`{one.module}`") for one in held
            ]
            parts.append(table(("what", "names end in", "module"), rows))
    return "\n".join(parts)


def _types() -> str:
    parts = [
        "# What these take and give\n",
        "Types that the public functions return, or ask for, each with the module that has it.\n",
        *(_entry(name, home) for name, home in TYPES.items()),
    ]
    return "\n".join(parts)


def pages() -> Iterator[tuple[str, str]]:
    """Yield name and text of each page."""
    index = [
        "# Python API\n",
        "`import mimamba_edge` takes a millisecond and loads neither NumPy nor torch; each name is loaded",
        "when it is first used. What stands here, the [command line](../cli/index.md) and the",
        "[formats of files](../../formats/README.md) are public. All else is internal and may change.\n",
    ]
    for page, (title, what, example, names) in GROUPS.items():
        yield f"reference/python/{page}.md", _group(title, what, example, names)
        rows = [
            (f"[`{name}`]({page}.md#{name.lower()})", summary(getattr(mimamba_edge, name))) for name in names
        ]
        index += [f"## {title}\n", table(("name", "what"), rows)]
    yield "reference/python/errors.md", _errors()
    yield "reference/python/tables.md", _tables()
    yield "reference/python/types.md", _types()
    more = [
        ("[types](types.md)", "what functions take and give besides these names"),
        ("[errors](errors.md)", "what can go wrong, each with what to do"),
        ("[tables](tables.md)", f"{', '.join(f'`{name}`' for name in TABLES)}: to add kinds of your own"),
        ("[operators](../operators.md)", "`selective_scan` and `multi_scale_temporal_block` in PyTorch"),
    ]
    index += ["## More\n", table(("page", "what"), more), toctree([*GROUPS, "types", "errors", "tables"])]
    yield "reference/python/index.md", "\n".join(index)

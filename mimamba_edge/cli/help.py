"""How the command line presents itself: verbs in panels, whole summaries, metavars that people read."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import ArgumentInfo, OptionInfo

from mimamba_edge.errors import ConfigError

__all__ = ["PANELS", "VERBS", "WORDS", "Panels", "Verb", "check_spelling", "name_values"]

PANELS = {
    "Start": ("demo",),
    "Model": ("train", "export", "quantize", "pack"),
    "Check": ("inspect", "parity", "bench", "evaluate", "report"),
    "Live": ("sources", "check-signal", "calibrate", "stream", "record", "session"),
    "Data": ("simulate", "data", "predict"),
    "Machine": ("doctor", "plugin", "build"),
}
"""Which verbs are shown together, in the order of use."""
VERBS = tuple(verb for verbs in PANELS.values() for verb in verbs)


_SPELLED = {
    ("evaluate", "--page"): "--html PATH",
    ("predict", "--out"): "--output PATH",
    ("quantize", "--calib"): "--data PATH",
    ("quantize", "--fp16"): "--to fp16",
    ("quantize", "--int8"): "--to int8",
    ("report", "--page"): "--html PATH",
}
"""How a verb says what people write from another verb, or from an earlier version."""


_SPEED = ("realtime", "max")
_PROTOCOL = ("within-session", "leave-one-run-out", "cross-session", "cross-subject")
_ENGINE = ("local", "ray")
_PROVIDER = ("cpu", "cuda", "tensorrt")
_SOURCE = ("brainflow:", "lsl:", "stdin:", "simulated:")
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "bench": {"provider": _PROVIDER},
    "calibrate": {"source": _SOURCE, "speed": _SPEED},
    "check_signal": {"source": _SOURCE, "speed": _SPEED},
    "evaluate": {"protocol": _PROTOCOL, "engine": _ENGINE},
    "export": {"form": ("standard", "linear-attention"), "scaling": ("none", "window-zscore")},
    "parity": {"provider": _PROVIDER},
    "predict": {"provider": _PROVIDER, "engine": _ENGINE},
    "quantize": {
        "to": ("fp16", "int8"),
        "target": ("cpu", "tensorrt"),
        "method": ("mse", "percentile", "minmax"),
    },
    "record": {"source": _SOURCE},
    "stream": {"source": _SOURCE, "speed": _SPEED, "provider": _PROVIDER},
    "train": {
        "protocol": _PROTOCOL,
        "engine": _ENGINE,
        "device": ("cpu", "cuda"),
        "precision": ("float32", "bfloat16"),
        "freeze": ("backbone",),
        "scaling": ("init", "personal"),
    },
}
"""Words that a shell completes, by verb and option. Who checks a value is the verb's own code."""


def check_spelling(args: Sequence[str]) -> None:
    """Check that no option is spelled as another verb, or an earlier version, spells it.

    Raises:
        ConfigError: One is; it says how this verb spells it.
    """
    for word, after in itertools.zip_longest(args, args[1:], fillvalue=""):
        name, given, _ = word.partition("=")
        spelled = _SPELLED.get((args[0], name))
        # A manifest, which `inspect` reads, is the only file of this kind that is no output.
        if name == "--json" and (given or (after.endswith(".json") and args[0] != "inspect")):
            spelled = "--report PATH; --json prints to standard output"
        if spelled is not None:
            raise ConfigError(f"{args[0]} does not take {name} so", do=f"use {spelled}")


class Panels(TyperGroup):
    """The list of verbs, in panels."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs with their summaries, which the formatter wraps."""
        for panel, verbs in PANELS.items():
            with formatter.section(panel):
                formatter.write_dl([(verb, self.commands[verb].get_short_help_str()) for verb in verbs])


class Verb(TyperCommand):
    """A verb whose arguments are shown by name, in all releases of Typer."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line."""
        return [piece.strip("{}").replace("}...", "...") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write what each argument and option is for."""
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            params = [param for param in self.get_params(ctx) if param.param_type_name == kind]
            rows = [row for param in params if (row := param.get_help_record(ctx)) is not None]
            if kind == "argument":
                rows = [(name.partition(" ")[0], text) for name, text in rows]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def name_values(app: typer.Typer) -> None:
    """Give every summary in full and every value a name in capitals: releases of Typer differ in both."""
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group.short_help = str(group.typer_instance.info.help)
            name_values(group.typer_instance)
    for command in app.registered_commands:
        command.cls = Verb
        run: Any = command.callback
        # Typer cuts the first sentence of a help text to one line, but not a summary that is given.
        command.short_help = " ".join(str(inspect.getdoc(run)).split("\n\n")[0].split())
        # Each look at annotations that are text makes new options of them: Typer finds these.
        run.__annotations__ = get_type_hints(run, include_extras=True)
        for name, hint in run.__annotations__.items():
            info = next((one for one in get_args(hint) if isinstance(one, ArgumentInfo | OptionInfo)), None)
            if isinstance(info, OptionInfo) and name in (words := WORDS.get(run.__name__, {})):
                info.autocompletion = _completing(words[name])
            if info is None or info.metavar is not None:
                continue
            kinds = {hint, *_parts(hint)}
            if isinstance(info, ArgumentInfo):
                info.metavar = name.upper()
            elif {Path, str} & kinds:
                info.metavar = "PATH" if Path in kinds else "TEXT"


def _completing(words: Sequence[str]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def _parts(hint: Any) -> set[Any]:
    found = set(get_args(hint))
    return found.union(*(_parts(one) for one in found if get_args(one)))

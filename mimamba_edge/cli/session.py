"""``mimamba-edge session``: what was recorded, how it goes out, and how it is deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import Json, deliver
from mimamba_edge.errors import ConfigError, GateError

session = typer.Typer(no_args_is_help=True, help="List, export and delete recorded sessions.")


@session.command("list")
def list_(
    folder: Annotated[Path, typer.Argument(help="Folder of sessions.")],
    json: Json = False,
) -> None:
    """List the sessions in a folder, oldest first."""
    from mimamba_edge.console import print_json, show_note, show_table, show_warning
    from mimamba_edge.sessions.describe import HEADER, row
    from mimamba_edge.sessions.store import list_sessions

    found = list_sessions(folder)
    if json:
        print_json([one.to_dict() for one in found])
    elif not found:
        show_note(f"no sessions in {folder}")
    else:
        show_table("", HEADER, [row(one) for one in found], left=(0, 1, 2, 3, 4, 8))
    for one in found:
        if one.problem is not None:
            show_warning(f"{one.folder}: {one.problem}")


@session.command()
def export(
    folders: Annotated[list[Path], typer.Argument(help="Session folders DIR/ID.")],
    bids: Annotated[
        Path, typer.Option(help="Data set in BIDS to write them into; made where it is not there.")
    ],
    json: Json = False,
) -> None:
    """Export recorded sessions as a data set in BIDS: signals in BDF+, trials and markers as events."""
    from mimamba_edge.console import progress, show_note
    from mimamba_edge.sessions.bids import export_bids

    exported = []
    with progress("exporting", total=len(folders)) as bar:
        for folder in folders:
            made = export_bids(folder, bids)
            bar.advance()
            gaps = f", {made.missing_s:g} s missing" if made.missing_s else ""
            off = f"values within {1e3 * made.step_uv / 2:.2g} nV"
            show_note(f"{bids / made.file}: {made.trials} trials{gaps}; {off}")
            exported.append({"session": str(folder), **vars(made)})
    deliver("session export", {"bids": str(bids), "exported": exported}, json, None)


@session.command()
def delete(
    folders: Annotated[
        list[Path], typer.Argument(help="Session folders DIR/ID, or with --all the folder DIR.")
    ],
    every: Annotated[bool, typer.Option("--all", help="Delete all sessions in the given folders.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    json: Json = False,
) -> None:
    """Delete recorded sessions; other files and links in the folders stay."""
    import sys

    from mimamba_edge.console import show_note, show_table, show_warning
    from mimamba_edge.sessions.describe import HEADER, row
    from mimamba_edge.sessions.store import delete_session, find_session, forget_subject, list_sessions

    found = [s for folder in folders for s in (list_sessions(folder) if every else [find_session(folder)])]
    for one in found:
        if not one.info:
            show_warning(f"{one.folder} stays: {one.problem}")
    found = list({one.folder.resolve(): one for one in found if one.info}.values())
    if found:
        show_table("", HEADER, [row(one) for one in found], left=(0, 1, 2, 3, 4, 8))
    else:
        show_note("no sessions found")
    if found and not yes:
        if not sys.stdin.isatty():
            raise ConfigError("no terminal to ask for confirmation on", do="add --yes")
        if not typer.confirm(f"Delete {len(found)} session(s)? This cannot be undone.", err=json):
            raise ConfigError("not confirmed: nothing was deleted")
    kept: dict[str, list[str]] = {}
    for one in found:
        left = delete_session(one.folder)
        if left:
            kept[str(one.folder)] = [str(name) for name in left]
        show_note(f"deleted {one.folder}")
        for name in left:
            show_warning(f"{one.folder / name} was not written by `record` and stays")
    for folder in folders if every else ():
        forget_subject(folder)
    deliver("session delete", {"deleted": [str(one.folder) for one in found], "files_kept": kept}, json, None)
    if kept:
        raise GateError(f"{len(kept)} folder(s) stay: they hold files that `record` did not write")

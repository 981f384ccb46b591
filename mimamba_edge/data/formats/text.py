"""Text files: which program wrote one."""

from __future__ import annotations

from pathlib import Path

from mimamba_edge.console import printable
from mimamba_edge.data.conversions import of_columns
from mimamba_edge.data.formats import mind_monitor, muselsl, openbci
from mimamba_edge.data.formats.lines import check_text
from mimamba_edge.data.recording import Recording
from mimamba_edge.errors import DataError

__all__ = ["read"]


def read(path: Path) -> Recording:
    """Read a file of the OpenBCI GUI, of Mind Monitor, or one in muselsl's format.

    Raises:
        DataError: It is none of them, is damaged, or holds no samples.
    """
    head = check_text(path)
    if head.lstrip('"').startswith(openbci.START):
        return openbci.read(path)
    lines = head.splitlines()[:2]
    columns = [name.strip().strip('"') for name in lines[0].split(",")] if lines else []
    if mind_monitor.is_header(columns):
        return mind_monitor.read(path)
    foreign = of_columns(lines)
    if foreign is not None:
        raise DataError(
            f"{path} is {foreign.what}",
            got=printable(lines[0]),
            expected="a CSV file in muselsl's format, of Mind Monitor or of OpenBCI's GUI",
            do=foreign.do,
        )
    return muselsl.read(path)

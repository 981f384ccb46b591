"""Whether a tag can be released: its version is the package's, and CHANGELOG.md has its section; prints that.

python .github/release_check.py v0.1.0 > notes.md
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def notes(tag: str, root: Path = ROOT) -> str:
    """Return the section of CHANGELOG.md of a tag.

    Raises:
        ValueError: The tag is not one of this version, or the section is missing or not dated.
    """
    source = (root / "mimamba_edge" / "__init__.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    if tag != f"v{version}":
        raise ValueError(
            f"the tag is {tag}; the package's version is {version}: tag v{version}, or change it"
        )
    sections = re.split(r"^## ", (root / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = [section for section in sections if section.startswith(f"{version} ")]
    if not found:
        raise ValueError(f"CHANGELOG.md has no section {version}: add '## {version} (YYYY-MM-DD)'")
    head, _, body = found[0].partition("\n")
    if re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", head) is None:
        raise ValueError(f"CHANGELOG.md says '## {head}': write the date, '## {version} (YYYY-MM-DD)'")
    return body.strip() + "\n"


if __name__ == "__main__":
    try:
        sys.stdout.write(notes(*sys.argv[1:2]))
    except (TypeError, ValueError) as error:
        sys.exit(str(error))

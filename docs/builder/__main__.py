"""Builds the site into build/docs/html and checks its links: ``python -m docs.builder``."""

from __future__ import annotations

import sys

from docs.builder.links import broken_links
from docs.builder.pages import DOCS, ROOT, STAGED, stage


def main() -> int:
    """Build; return 0 if there was no warning and no link leads nowhere."""
    try:
        from sphinx.cmd.build import build_main
    except ImportError as error:
        sys.stderr.write(f'{error}\n  do this:  pip install -e ".[docs]"\n')
        return 2
    site = ROOT / "build" / "docs" / "html"
    stage()
    options = ["-q", "-W", "--keep-going", "-n", "-c", str(DOCS), "-d", str(site.with_name("doctrees"))]
    if build_main([*options, str(STAGED), str(site)]):
        sys.stderr.write(f"the pages that warnings name are copies: {STAGED} holds docs/ and what was made\n")
        return 1
    broken = list(broken_links(site))
    sys.stderr.write("".join(f"{line}\n" for line in broken))
    if not broken:
        sys.stdout.write(f"{site / 'index.html'}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

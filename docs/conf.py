"""Sphinx's configuration; ``make docs`` puts the pages together and builds them (docs/builder)."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mimamba_edge
from docs.builder.python_api import TYPES
from mimamba_edge import __version__

project = "mimamba-edge"
author = "The mimamba-edge developers"
project_copyright = "The mimamba-edge developers, Apache-2.0"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
root_doc = "index"
source_suffix = {".md": "markdown"}
exclude_patterns: list[str] = []

# Of Python and of others, whose pages are not asked for.
nitpick_ignore_regex = [
    ("py:.*", r"(abc|collections|time|numpy|np|pathlib|sklearn|torch|typing)\..*"),
    (
        "py:.*",
        r"(Any|ArrayLike|Callable|Iterable|Iterator|Mapping|NDArray|Path|Sequence|Tensor|nn\.Module).*",
    ),
]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
autodoc_default_options = {"members": True, "exclude-members": "set_fit_request,set_score_request"}
# As they are written, not as they are made up.
autodoc_type_aliases = {"ArrayLike": "ArrayLike", "NDArray": "NDArray"}
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
add_module_names = False
python_maximum_signature_line_length = 90
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

highlight_language = "bash"
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "mimamba-edge"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": [], "measured": []}
html_theme_options = {
    "logo": {"text": "mimamba-edge"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# On GitHub the site knows where its sources stand; elsewhere it links to nothing outside.
if repository := os.environ.get("GITHUB_REPOSITORY"):
    html_theme_options["github_url"] = f"https://github.com/{repository}"


def _by_public_name(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Link what a docstring calls by its module to its entry; let what is internal stand as text."""
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].rpartition(".")[2]
    home = "mimamba_edge" if name in mimamba_edge.__all__ else TYPES.get(name)
    if home is not None and node["reftarget"] != f"{home}.{name}":
        domain, page = env.get_domain("py"), node["refdoc"]
        return domain.resolve_xref(env, page, app.builder, "obj", f"{home}.{name}", node, content)
    held = [module for key, module in sys.modules.items() if key.split(".")[0] == "mimamba_edge"]
    names = node["reftarget"].split(".")[-2:]
    there = any(hasattr(module, name) for module in held for name in names)
    return content if there or (node["reftype"] == "mod" and find_spec(node["reftarget"])) else None


def _as_written(app: Any, what: str, name: str, thing: Any, options: Any, *parts: str | None) -> Any:
    """Return a signature with the aliases that Sphinx loses in a union."""
    return tuple(part and part.replace("TypeAliasForwardRef('ArrayLike')", "ArrayLike") for part in parts)


def setup(app: Any) -> None:
    """Tell Sphinx what to call."""
    app.connect("autodoc-process-signature", _as_written)
    app.connect("missing-reference", _by_public_name)

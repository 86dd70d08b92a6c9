"""What mkdocs needs to build the site from pages that also read well beside the code.

- A link to a file of the repository outside docs/ becomes its path as text, because the site does not hold that file.
  A link to a file that does not exist is a warning, which ends a strict build.
- Some pages lie outside docs/, beside what they describe. The site gets them too.
- Formulas become MathML, which browsers show without a script.
"""

from __future__ import annotations

import html
import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LOG = logging.getLogger("mkdocs.hooks.site")
ROOT = Path(__file__).resolve().parents[2]
# Page of the site -> file of the repository.
OUTSIDE = {"deploy.md": "deploy/README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
_INSIDE = {source: name for name, source in OUTSIDE.items()}
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages that lie outside docs/."""
    for name, source in OUTSIDE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Rewrite links that leave docs/, but not those in code."""
    if "```mermaid" in markdown:
        LOG.warning("%s has a mermaid drawing, which needs a script from elsewhere: draw an SVG", page.file.src_uri)
    source = OUTSIDE.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    done, parts = 0, []
    for fence in _FENCE.finditer(markdown):
        parts += [_relinked(markdown[done : fence.start()], source, page), fence[0]]
        done = fence.end()
    return "".join([*parts, _relinked(markdown[done:], source, page)])


def on_page_content(content: str, page: Page, **_: Any) -> str:
    """Turn formulas into MathML."""

    def shown(match: re.Match[str]) -> str:
        kind = "inline" if match[2] == "(" else "block"
        return str(convert(html.unescape(match[3]), display=kind))

    return _FORMULA.sub(shown, content)


def _relinked(text: str, source: str, page: Page) -> str:
    def relink(match: re.Match[str]) -> str:
        shown, target = match[1], match[2]
        place, _, anchor = target.partition("#")
        if not place or re.match(r"[a-z]+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), place))
        if not (ROOT / path).exists():
            LOG.warning("%s links to %s, which does not exist", source, target)
            return match[0]
        if path in _INSIDE or path.startswith("docs/"):
            inside = _INSIDE.get(path, path.removeprefix("docs/"))
            to = posixpath.relpath(inside, posixpath.dirname(page.file.src_uri) or ".")
            return f"[{shown}]({to}{'#' + anchor if anchor else ''})"
        plain = shown.strip("`")
        # Text that names the file already needs no second name.
        return f"`{path}`" if path.endswith(plain) or plain == place else f"{shown} (`{path}`)"

    return _LINK.sub(relink, text)

"""Write docs/reference/, or say which of its pages differ from the code.

`python -m reference_pages` writes them. `python -m reference_pages --check` writes nothing, and ends with 1 if a page
differs. The pages are committed, so that they can be read without building the site.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reference_pages import commands, contract, metrics, parameters, python_api, settings

FOLDER = Path(__file__).resolve().parents[2] / "reference"
HEADER = "<!-- Made from the code by `make docs`. Change the code, not this page. -->\n\n"


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    made = {
        "contract.md": contract.page(),
        "parameters.md": parameters.page(),
        "metrics.md": metrics.page(),
        "settings.md": settings.page(),
        "commands.md": commands.page(),
        "python-api.md": python_api.page(),
    }
    return {name: HEADER + text.rstrip("\n") + "\n" for name, text in made.items()}


def main() -> int:
    """Return 1 if --check found a page that differs, otherwise 0."""
    parser = argparse.ArgumentParser(prog="reference_pages", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; name the pages that differ")
    check = parser.parse_args().check
    different = []
    for name, text in pages().items():
        file = FOLDER / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            different.append(name)
            if not check:
                file.write_text(text, encoding="utf-8")
    for name in different:
        print(f"docs/reference/{name}: {'differs from the code; run: make docs' if check else 'written'}")
    return int(check and bool(different))


if __name__ == "__main__":
    sys.exit(main())

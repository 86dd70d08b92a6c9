"""docs/reference/commands.md, from the parsers of `shopwindow`."""

from __future__ import annotations

import argparse
import importlib
import re

from reference_pages.markdown import code, prose, table
from shopwindow.cli.main import COMMANDS, INDEX_ACTIONS

_GROUPS = {
    "repository": "From a checkpoint to a repository",
    "index": "Catalogues and indexes",
    "server": "Servers, and asking them",
    "towers": "Towers: data, training, evaluation",
}
_INTRODUCTION = f"""# Commands

`shopwindow COMMAND --help` prints the same as this page. Every command ends with 0 if all went well, with 1 after an
error that its message explains, with 2 if an option is wrong, and with 130 after Ctrl-C. `validate`, `probe` and
`loadtest` use 1 for their verdict too. `shopwindow index update`, `index rollback` and `index compact` are other names
of {", ".join(f"`{name}`" for name in INDEX_ACTIONS)}.
"""


def page() -> str:
    """Return the page."""
    parts = [_INTRODUCTION]
    for room, title in _GROUPS.items():
        names = [name for name, (its_room, _) in COMMANDS.items() if its_room == room]
        parts.append(f"## {title}\n")
        parts.append(table(("command", "what it does"), [(f"[{name}](#{name})", COMMANDS[name][1]) for name in names]))
        parts += [_section(name) for name in names]
    return "\n".join(parts)


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of a command, with its options."""
    room, text = COMMANDS[name]
    parser = argparse.ArgumentParser(prog=f"shopwindow {name}", description=text[0].upper() + text[1:] + ".")
    importlib.import_module(f"shopwindow.cli.{room}.{name}").add_arguments(parser)
    return parser


def _section(name: str) -> str:
    parser = parser_of(name)
    parts = [f"### {name}\n", prose(f"{parser.description}") + "\n"]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        if actions:
            if group.title not in ("positional arguments", "options"):
                parts.append(f"**{str(group.title).capitalize()}**\n")
            parts.append(table(("option", "meaning"), [_row(parser, action) for action in actions]))
    if parser.epilog:
        parts.append(prose(parser.epilog[0].upper() + parser.epilog[1:].rstrip(".") + ".") + "\n")
    return "\n".join(parts)


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str]:
    value = ""
    if action.nargs != 0:
        choices = f"{{{','.join(map(str, action.choices))}}}" if action.choices else ""
        # A code in a table cannot show a `|` both here and beside the code.
        value = str(action.metavar or choices or action.dest.upper()).replace("|", " or ")
        value = {"?": f"[{value}]", "*": f"[{value} ...]", "+": f"{value} ..."}.get(str(action.nargs), value)
    names = " ".join(filter(None, [", ".join(action.option_strings), value]))
    if not action.option_strings:
        names = value.replace("QUERY", "query")
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    if action.required and action.option_strings:
        text += " (required)"
    # Paths of the machine that writes the page must not get into it.
    text = re.sub(r"/[^\s)]*?/(?=build/|shopwindow/)", "", text)
    return code(names), prose(text)

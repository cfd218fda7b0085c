"""From arguments that somebody else has split to a command line of our own."""

from __future__ import annotations

from collections.abc import Sequence

#: What :class:`_native.Definition` says of commands whose operands are names of files.
FILES = ("file", "files")


def quoted(word: str) -> str:
    """A word whose quotes and spaces are its own."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def argument_line(arguments: Sequence[str], files: bool = False) -> str:
    """The arguments as a command line; values of options and ``files`` stay as they are."""
    line: list[str] = []
    after_option, ended = False, False
    for argument in arguments:
        option = argument.startswith("-") and argument[1:2] not in ("", *"0123456789")
        if files:
            line.append(argument if option and not ended else quoted(argument))
        elif after_option and any(char.isspace() for char in argument):
            quote = '"' if "'" in argument else "'"
            line.append(f"{quote}{argument}{quote}")
        else:
            line.append(argument)
        ended = ended or argument == "--"
        after_option = option and argument[1:2] != "-"
    return " ".join(line)

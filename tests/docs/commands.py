"""Whether command lines name commands and options that exist, by what `portcullis … --help` says."""

import dataclasses
import functools
import pathlib
import re
import shlex
import subprocess

from pages import Code, Page

SHELLS = {"sh", "bash", "console", "text"}
COMMAND = re.compile(r"^  ([a-z][a-z0-9-]*)\s")
OPTION = re.compile(r"^\s+(?:(-\w)(?:, )?)?(--[a-z0-9-]+)?(\s*[<\[=].*?>)?")
# What ends a command in a line of a shell.
OPERATORS = {"|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1", ")", "…", "...", "#", "/"}


@dataclasses.dataclass
class Command:
    subcommands: set[str]
    options: dict[str, bool]
    """Whether each takes a value."""
    positionals: int | None
    """At most; None for any number."""


class Program:
    def __init__(self, binary: pathlib.Path):
        self._binary = binary

    @functools.cache
    def command(self, path: tuple[str, ...]) -> Command | None:
        done = subprocess.run([self._binary, *path, "--help"], capture_output=True, text=True, check=False, timeout=30)
        if done.returncode != 0:
            return None
        section, subcommands, options, usage = "", set(), {}, ""
        for line in done.stdout.splitlines():
            if line.startswith("Usage:"):
                section = "Usage:"
            elif not line.strip() and section == "Usage:":
                section = ""
            if section == "Usage:":
                usage += " " + line.strip()
            elif line.endswith(":") and not line.startswith(" "):
                section = line
            elif section == "Commands:" and (match := COMMAND.match(line)):
                subcommands.add(match[1])
            elif section == "Options:" and (match := OPTION.match(line)) and (match[1] or match[2]):
                options |= {name: bool(match[3]) for name in match.group(1, 2) if name}
        return Command(subcommands, options, _positionals(usage, options))


def _positionals(usage: str, options: dict[str, bool]) -> int | None:
    if "..." in usage:
        return None
    words = re.findall(r"--?[a-z][a-z-]*|<[A-Z_]+>|\[[A-Z_]+\]", usage.replace("[OPTIONS]", "").replace("<COMMAND>", ""))
    # What follows an option that takes a value is that value: --user <USER>.
    return sum(not word.startswith("-") and not options.get(before) for before, word in zip(["", *words], words))


def check_page(page: Page, program: Program) -> list[str]:
    return [f"{code.where}: `{line}`: {reason}" for code in page.code for line in lines_of(code) if (reason := wrong(line, program))]


def lines_of(code: Code) -> list[str]:
    """The command lines of ours in a piece of code."""
    if code.words is None:
        return [code.text] if code.text.startswith("portcullis ") else []
    if code.words and code.words[0] not in SHELLS:
        return []
    found = []
    for line in code.text.replace("\\\n", " ").splitlines():
        match = re.search(r"(?:^|^[$#] |[|(;&] ?|&& |[A-Z_]+=\S* |exec |sudo (?:-\S+ (?:\w+ )?)*)(portcullis (?![a-z]+:).*)$", line.strip())
        if match:
            found.append(match[1])
    return found


def wrong(line: str, program: Program) -> str | None:
    """What is wrong with a command line, if anything."""
    words = _words(line)
    path: tuple[str, ...] = ()
    command, given = program.command(path), 0
    while words and command:
        word = words.pop(0)
        if word == "--":
            break
        if word.startswith("-") and word != "-":
            name, _, value = word.partition("=")
            if name not in command.options and (name[:2] not in command.options or name.startswith("--")):
                return f"there is no option {name} of {' '.join(('portcullis', *path))}"
            if command.options.get(name) and not value and words:
                words.pop(0)
        elif command.subcommands:
            # Alternatives, as in `user add|list`.
            for name in word.split("|"):
                if name not in command.subcommands and program.command((*path, name)) is None:
                    return f"there is no command {' '.join(('portcullis', *path, name))}"
            path = (*path, word.split("|")[0])
            command = program.command(path)
        else:
            given += 1
    if command and command.positionals is not None and given > command.positionals:
        return f"{' '.join(('portcullis', *path))} takes no more than {command.positionals} arguments"
    return None


def _words(line: str) -> list[str]:
    # What a shell puts in: one word, or the end of what is looked at.
    lexer = shlex.shlex(re.sub(r"\$\([^()]*\)", "X", line), posix=True, punctuation_chars="();<>&|")
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        for word in lexer:
            if word in OPERATORS or word.startswith("#"):
                break
            # What may be left out stands in brackets.
            word = word.strip("[]").removesuffix("…")
            if word and not word.startswith("…"):
                words.append(word)
    except ValueError:
        pass
    return words[1:]

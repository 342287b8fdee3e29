#!/usr/bin/env python3
"""Checks the documentation without building it.

Every page of docs/ is in SUMMARY.md, every link and anchor leads somewhere, by the rules of mdBook, the files, tests
and settings that a page names are there, and every security case has a test that carries its number. With --binary, every
command line that begins with `portcullis` names commands and options that exist, and every configuration is one that
`portcullis check` takes. Exits with 1 and a line for everything that is wrong.
"""

import argparse
import pathlib
import sys

import cases
import commands
import configurations
import links
import names
import pages

# Pages outside of the book whose links must hold as well.
OTHERS = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "certs/README.md", "deploy/**/*.md", "clients/*/README.md", ".github/*.md"]
# What was true of an earlier version is no error of theirs.
HISTORY = {"CHANGELOG.md"}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("root", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2])
    arguments.add_argument("--binary", type=pathlib.Path, help="the portcullis that commands and configurations are for")
    given = arguments.parse_args()
    problems = check(given.root.resolve(), given.binary and given.binary.resolve())
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def check(root: pathlib.Path, binary: pathlib.Path | None = None) -> list[str]:
    """Everything that is wrong below `root`, a line each."""
    book = {path: pages.read(path) for path in sorted((root / "docs").rglob("*.md"))}
    others = {path: pages.read(path) for pattern in OTHERS for path in sorted(root.glob(pattern)) if "node_modules" not in path.parts}
    problems = [problem for page in book.values() for problem in page.problems]
    problems += links.check_summary(root / "docs" / "SUMMARY.md", book)
    problems += links.check_links(root, book, others)
    settings = names.Settings(root)
    problems += [problem for page in book.values() for problem in names.check_page(page, root, settings)]
    problems += cases.check(root)
    if binary:
        program = commands.Program(binary)
        current = [page for path, page in {**book, **others}.items() if path.name not in HISTORY]
        problems += [problem for page in current for problem in commands.check_page(page, program)]
        problems += [problem for page in current for problem in configurations.check_page(page, binary)]
    return [problem.replace(f"{root}/", "") for problem in problems]


if __name__ == "__main__":
    sys.exit(main())

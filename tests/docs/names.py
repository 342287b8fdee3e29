"""Whether the files and tests of the repository that a page names are there."""

import pathlib
import re

from pages import Page

FILE = re.compile(r"^(?:benches|clients|conf|deploy|migrations|src|tests)/[\w./-]*(?:::(?P<test>\w+))?$")


def check_page(page: Page, root: pathlib.Path) -> list[str]:
    """Spans of code alone: what stands in a block is the output or the configuration of something else."""
    problems = []
    for code in page.code:
        match = FILE.match(code.text) if code.words is None else None
        if match is None:
            continue
        file = root / code.text.partition("::")[0]
        if not file.exists():
            problems.append(f"{code.where}: there is no {code.text}")
        elif match["test"] and not re.search(rf"\bfn {match['test']}\b", file.read_text(encoding="utf-8")):
            problems.append(f"{code.where}: {code.text}: the file has no such test")
    return problems

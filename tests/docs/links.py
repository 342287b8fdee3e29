"""Whether every page can be reached and every link leads somewhere."""

import pathlib
import re

from pages import Page

SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def check_summary(summary: pathlib.Path, book: dict[pathlib.Path, Page]) -> list[str]:
    if summary not in book:
        return [f"{summary}: there is none"]
    problems, listed = [], set()
    for link in book[summary].links:
        page = (summary.parent / link.target).resolve()
        if page in listed:
            problems.append(f"{link.where}: {link.target} is there twice")
        listed.add(page)
    for path, page in book.items():
        if path == summary:
            continue
        if path not in listed:
            problems.append(f"{path}:1: is not in SUMMARY.md")
        if not page.headings or page.headings[0][0] != 1:
            problems.append(f"{path}:1: does not begin with a title (# …)")
    return problems


def check_links(root: pathlib.Path, book: dict[pathlib.Path, Page], others: dict[pathlib.Path, Page]) -> list[str]:
    """Links of the book stay in it, since that is all that the site has; those of other pages may lead to any file."""
    every = {**book, **others}
    return [
        f"{link.where}: {link.target}: {reason}"
        for path, page in every.items()
        for link in page.links
        if not SCHEME.match(link.target) and (reason := _reason(root, path, link.target, every, path in book))
    ]


def _reason(root: pathlib.Path, path: pathlib.Path, target: str, every: dict[pathlib.Path, Page], in_book: bool) -> str | None:
    file, _, fragment = target.partition("#")
    if file.startswith("/"):
        return "an absolute path: the site may live below one"
    found = (path.parent / file).resolve() if file else path
    if in_book and not found.is_relative_to(root / "docs"):
        return "leads out of docs/: name the file instead, or include it in a page"
    if not found.exists():
        return "there is no such file" if file else "an empty link"
    if not fragment:
        return None if file or not target == "" else "an empty link"
    if found not in every:
        return "only anchors of pages can be checked"
    if fragment not in every[found].anchors:
        known = ", ".join(sorted(every[found].anchors))
        return f"there is no such heading; there are {known}"
    return None

"""A page of Markdown, as far as its links, headings and code are concerned."""

import dataclasses
import pathlib
import re

FENCE = re.compile(r"^(?P<indent>\s*(?:>\s*)?)(?P<mark>`{3,}|~{3,})(?P<info>[^`]*)$")
HEADING = re.compile(r"^ {0,3}(?P<level>#{1,6})\s+(?P<text>.*?)\s*#*\s*$")
INCLUDE = re.compile(r"\{\{#(?:include|rustdoc_include) (?P<path>[^}:]+)[^}]*\}\}")
EXPLICIT_ID = re.compile(r"\s*\{\s*#(?P<id>[^\s}]+)[^}]*\}\s*$")
CODE_SPAN = re.compile(r"(?P<ticks>`+)(?P<code>.+?)(?P=ticks)(?!`)", re.DOTALL)
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?(?P<target>[^)\s>]*)>?(?:\s+\"[^\"]*\")?\s*\)")
DEFINITION = re.compile(r"^ {0,3}\[[^\]]+\]:\s*(?P<target>\S+)", re.MULTILINE)
HTML_ID = re.compile(r"<[^>]*\b(?:id|name)=\"(?P<id>[^\"]+)\"")


@dataclasses.dataclass
class Code:
    """A block or a span of code. `words` are those behind the fence; a span has None."""

    where: str
    words: list[str] | None
    text: str


@dataclasses.dataclass
class Link:
    where: str
    target: str


@dataclasses.dataclass
class Page:
    path: pathlib.Path
    headings: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    anchors: set[str] = dataclasses.field(default_factory=set)
    links: list[Link] = dataclasses.field(default_factory=list)
    code: list[Code] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


def read(path: pathlib.Path) -> Page:
    """Reads a page with what it includes."""
    page = Page(path)
    prose: list[str] = []
    block: Code | None = None
    mark, indent = "", ""
    lines = _expand(path, page)
    for where, line in lines:
        fence = FENCE.match(line)
        if block is None and fence:
            mark, indent = fence["mark"], fence["indent"]
            block = Code(where, [word for word in re.split(r"[\s,]+", fence["info"].strip()) if word], "")
        elif block is None:
            prose.append(line)
            continue
        elif fence and fence["mark"].startswith(mark) and not fence["info"].strip():
            page.code.append(block)
            block = None
        else:
            block.text += line.removeprefix(indent) + "\n"
        prose.append("")
    if block is not None:
        page.problems.append(f"{block.where}: the block of code does not end")
    _prose(page, prose, [where for where, _ in lines])
    return page


def _expand(path: pathlib.Path, page: Page) -> list[tuple[str, str]]:
    lines = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        include = INCLUDE.search(line)
        if include is None:
            lines.append((f"{path}:{number}", line))
            continue
        file = (path.parent / include["path"].strip()).resolve()
        if file.is_file():
            lines += [(f"{file}:{at}", text) for at, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)]
        else:
            page.problems.append(f"{path}:{number}: there is no {include['path']} to include")
    return lines


def _prose(page: Page, prose: list[str], places: list[str]) -> None:
    used: set[str] = set()
    for line in prose:
        heading = HEADING.match(line)
        if heading:
            explicit = EXPLICIT_ID.search(heading["text"])
            text = EXPLICIT_ID.sub("", heading["text"])
            page.headings.append((len(heading["level"]), text))
            page.anchors.add(explicit["id"] if explicit else unique(anchor(text), used))
    text = "\n".join(prose)
    page.anchors |= {match["id"] for match in HTML_ID.finditer(text)}

    def where(match: re.Match[str]) -> str:
        return places[min(text.count("\n", 0, match.start()), len(places) - 1)]

    page.code += [Code(where(span), None, " ".join(span["code"].split())) for span in CODE_SPAN.finditer(text)]
    # Of the same length, so that places stay right.
    plain = CODE_SPAN.sub(lambda span: re.sub(r"[^\n]", " ", span[0]), text)
    page.links += [Link(where(link), link["target"]) for pattern in (LINK, DEFINITION) for link in pattern.finditer(plain)]


def anchor(heading: str) -> str:
    """The id that mdBook gives a heading."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    spans = re.split(r"(`+[^`]*`+)", text)
    text = "".join(span.strip("`") if span.startswith("`") else re.sub(r"(?<!\w)[*_]+|[*_]+(?!\w)", "", span) for span in spans)
    kept = (character for character in text.strip().lower() if character.isalnum() or character in "_-" or character.isspace())
    return "".join("-" if character.isspace() else character for character in kept)


def unique(wanted: str, used: set[str]) -> str:
    """As mdBook: -1, -2 and so on behind what is there already."""
    name, count = wanted, 0
    while name in used:
        count += 1
        name = f"{wanted}-{count}"
    used.add(name)
    return name

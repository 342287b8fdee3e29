"""Whether the files, tests and settings that a page names are there."""

import pathlib
import re

from pages import Page

FILE = re.compile(r"^(?:benches|clients|conf|deploy|migrations|src|tests)/[\w./-]*(?:::(?P<test>\w+))?$")
SECTIONS = "audit|limits|login|registration|server|stdio|store|streams|telemetry|tls|tokens|unified|upstreams|vault"
SETTING = re.compile(rf"^(?:{SECTIONS})(?:\.[a-z0-9_]+)+$")


class Settings:
    """The keys of the reference configuration, and what else has names of that form: actions of the audit log."""

    def __init__(self, root: pathlib.Path):
        self._root = root
        self._keys: set[str] = set()
        self._sources: str | None = None
        reference = root / "conf/portcullis.toml"
        section = ""
        for line in reference.read_text(encoding="utf-8").splitlines() if reference.is_file() else []:
            line = re.sub(r"^(?:# ?)+", "", line.strip())
            if header := re.match(r"\[\[?([a-z0-9_.]+)\]\]?", line):
                section = header[1]
                self._keys.add(section)
            elif key := re.match(r"([a-z0-9_.]+)\s*=\s", line):
                self._keys.add(f"{section}.{key[1]}")

    def know(self, name: str) -> bool:
        if name in self._keys or f"{name}_file" in self._keys or name.removesuffix("_file") in self._keys:
            return True
        if self._sources is None:
            self._sources = "\n".join(file.read_text(encoding="utf-8") for file in sorted((self._root / "src").rglob("*.rs")))
        return f'"{name}"' in self._sources


def check_page(page: Page, root: pathlib.Path, settings: Settings) -> list[str]:
    """Spans of code alone: what stands in a block is the output or the configuration of something else."""
    problems = []
    for code in page.code:
        if code.words is not None:
            continue
        match = FILE.match(code.text)
        if match:
            file = root / code.text.partition("::")[0]
            if not file.exists():
                problems.append(f"{code.where}: there is no {code.text}")
            elif match["test"] and not re.search(rf"\bfn {match['test']}\b", file.read_text(encoding="utf-8")):
                problems.append(f"{code.where}: {code.text}: the file has no such test")
        setting = code.text.partition(" = ")[0]
        if SETTING.match(setting) and not settings.know(setting):
            problems.append(f"{code.where}: {setting} is not in conf/portcullis.toml")
    return problems

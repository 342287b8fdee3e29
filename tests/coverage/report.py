"""Lines reached by tests, by module of src/, out of what `llvm-cov export --format=lcov` wrote; fails below the marks."""

import sys
from collections import defaultdict
from pathlib import Path

# What security rests on: as much of it as a test can reach, in per cent of lines.
MARK = 95.0
MARKED = [
    "apikey", "csrf", "factors", "forward_auth", "freshness", "hostname", "identity", "issuer", "jose", "jwks", "oauth",
    "proxy/admit", "proxy/headers", "proxy/http1", "proxy/origin", "proxy/route", "ratelimit", "revocation", "secret", "session",
    "tokens", "vault", "connect",
]  # fmt: skip
# Code that is compiled for tests only.
TESTS = {"tests", "conformance", "testing", "devkit", "workbench"}


def module(file: str) -> list[str] | None:
    """`["proxy", "admit"]` of `/…/src/proxy/admit.rs`, and nothing of what is not ours or is a test."""
    _, found, rest = file.rpartition("/src/")
    parts = rest.removesuffix(".rs").split("/")
    if not found or TESTS & set(parts) or parts[-1].endswith("_tests"):
        return None
    return parts


def files(info: Path) -> dict[str, dict[int, bool]]:
    """Of each file the lines that are code, and whether they were reached."""
    reached: dict[str, dict[int, bool]] = defaultdict(dict)
    name = ""
    for entry in info.read_text().splitlines():
        kind, _, value = entry.partition(":")
        if kind == "SF":
            name = value
        elif kind == "DA":
            line, count = value.split(",")[:2]
            reached[name][int(line)] = reached[name].get(int(line), False) or int(count) > 0
    return reached


def main(info: Path) -> int:
    lines: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    single = []
    for file, reached in files(info).items():
        parts = module(file)
        if parts is None:
            continue
        covered, count = sum(reached.values()), len(reached)
        names = {parts[0], "/".join(parts[:2])} if len(parts) > 1 else {parts[0]}
        for name in names:
            lines[name][0] += covered
            lines[name][1] += count
        lines["all of src"][0] += covered
        lines["all of src"][1] += count
        if any(name in MARKED for name in names):
            single.append((count - covered, "/".join(parts), 100 * covered / max(count, 1)))
    below = []
    for name in sorted(name for name in lines if name in MARKED or "/" not in name):
        covered, total = lines[name]
        share = 100 * covered / max(total, 1)
        is_marked = name in MARKED
        if is_marked and share < MARK:
            below.append(name)
        print(f"{name:<24} {covered:>7} of {total:>7} {share:>6.1f} % {'*' if is_marked else ''}")
    print(f"\n* must have {MARK:.0f} %. Most of what is left of those:")
    for missing, name, share in sorted(single, reverse=True)[:25]:
        print(f"{name:<40} {missing:>5} lines {share:>6.1f} %")
    if below:
        print(f"\nbelow {MARK:.0f} %: {', '.join(below)}")
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

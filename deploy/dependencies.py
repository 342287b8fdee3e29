#!/usr/bin/env python3
"""What the program is made of, and how much of it is unsafe code.

Without arguments: a row for each crate that is compiled in, with the places of `unsafe` in its sources (blocks, functions,
implementations, traits, foreign declarations; without comments, strings and tests), whether it forbids them, and its licence.
With --check: whether docs/security/dependencies.md has a row for every crate that Cargo.toml names, and no other.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "docs/security/dependencies.md"
# What a crate keeps for its own tests is not compiled in.
ASIDE = {"tests", "test", "benches", "examples", "fuzz", "target", "build"}

# Comments, strings and character literals: whatever is in them is no code.
NO_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])\'', re.S)
UNSAFE = re.compile(r"\bunsafe\s+(?:fn|impl|trait|extern)\b|\bunsafe\s*\{")
FORBIDS = re.compile(r"#!\[(?:[^\]]*\b)?forbid\([^)]*unsafe_code[^)]*\)")


def metadata() -> dict:
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def compiled_in(data: dict) -> list[dict]:
    """What is in the program: neither what only tests need, nor what runs while it is built."""
    command = ["cargo", "tree", "--locked", "--edges=normal,no-proc-macro", "--target=x86_64-unknown-linux-gnu"]
    command += ["--prefix=none", "--format={p}"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    # `name v1.2.3`, with more behind it where it is not from the registry.
    found = {tuple(line.split(" ")[:2]) for line in lines if line}
    root = data["resolve"]["root"]
    packages = [package for package in data["packages"] if (package["name"], f"v{package['version']}") in found]
    return sorted((p for p in packages if p["id"] != root), key=lambda package: (package["name"], package["version"]))


def unsafe_in(package: dict) -> tuple[int, bool]:
    """How often, and whether the compiler would refuse any."""
    directory = Path(package["manifest_path"]).parent
    count, forbids = 0, False
    for file in sorted(directory.rglob("*.rs")):
        parts = file.relative_to(directory).parts
        if ASIDE & set(parts[:-1]) or parts[-1] in ("tests.rs", "test.rs", "build.rs"):
            continue
        text = NO_CODE.sub(" ", file.read_text(encoding="utf-8", errors="replace"))
        count += len(UNSAFE.findall(text))
        forbids = forbids or (parts[-1] == "lib.rs" and FORBIDS.search(text) is not None)
    return count, forbids


def named(data: dict) -> set[str]:
    root = next(package for package in data["packages"] if package["id"] == data["resolve"]["root"])
    # What is optional is for the fuzz targets, which no released program has.
    return {dependency["name"] for dependency in root["dependencies"] if dependency["kind"] is None and not dependency["optional"]}


def check(data: dict) -> int:
    listed = set(re.findall(r"^\| `([^`]+)` \|", LIST.read_text(encoding="utf-8"), re.M))
    wrong = [f"{LIST.name} has no row for `{name}`: say what it is for and why it is trusted" for name in sorted(named(data) - listed)]
    wrong += [f"{LIST.name} has a row for `{name}`, which Cargo.toml does not name" for name in sorted(listed - named(data))]
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="only look whether the list of dependencies is complete")
    options = arguments.parse_args()
    data = metadata()
    if options.check:
        return check(data)
    direct, total, forbidding = named(data), 0, 0
    packages = compiled_in(data)
    rows = [(package, *unsafe_in(package)) for package in packages]
    print(f"{'crate':<34} {'version':<14} {'unsafe':>7}  {'forbids':<8} licence")
    for package, count, forbids in sorted(rows, key=lambda row: -row[1]):
        mark = "*" if package["name"] in direct else " "
        print(f"{mark}{package['name']:<33} {package['version']:<14} {count:>7}  {'yes' if forbids else '':<8} {package['license']}")
        total, forbidding = total + count, forbidding + forbids
    none = sum(1 for _, count, _ in rows if count == 0)
    print(f"\n{len(rows)} crates (* named in Cargo.toml), {total} places; {none} have none, {forbidding} forbid it")
    return 0


if __name__ == "__main__":
    sys.exit(main())

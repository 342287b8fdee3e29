#!/usr/bin/env python3
"""The steps of a request (benches/hot_path) here and at another commit: `make bench-compare BASE=<tag or commit>`.

Both are built into the same target directory, so that what they depend on is compiled once. They run in turns, and each
ratio is the median of the ratios of the turns: what else the machine does in a turn hits both.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    arguments = parse()
    base = arguments.base or default_base()
    commit = git("rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
    if commit is None:
        sys.exit(f"{base!r} is no commit of this repository: give one with BASE=<tag or commit>")
    print(f"base: {base} ({commit[:12]}), profile {arguments.profile}, {arguments.rounds} rounds", flush=True)
    target = target_directory()
    programs = {"base": build(worktree(target, commit), target, arguments.profile), "here": build(ROOT, target, arguments.profile)}
    rounds = []
    for number in range(arguments.rounds):
        # Whoever goes first differs from round to round.
        order = ["base", "here"] if number % 2 == 0 else ["here", "base"]
        figures = {}
        for name in order:
            figures[name] = run(programs[name], target / "compare" / f"{name}-{number}", arguments)
        rounds.append(figures)
        print(f"round {number + 1} of {arguments.rounds}", flush=True)
    table(rounds)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="", help="the commit to compare with; the last release when nothing is said")
    parser.add_argument("--profile", default="release", help="the Cargo profile that both are built with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default="", help="a regular expression; only what it matches is measured")
    return parser.parse_args()


def default_base() -> str:
    """The last tag; without one, the commit that wrote the last release into the changelog; without that, the one before this."""
    tag = git("describe", "--tags", "--abbrev=0")
    if tag:
        return tag
    release = re.search(r"^## \[?(\d[\w.]*)\]?", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    commits = release and git("log", "--format=%H", f"-S## {release[1]}", "--", "CHANGELOG.md")
    return commits.splitlines()[-1] if commits else "HEAD~1"


def worktree(target: Path, commit: str) -> Path:
    """A checkout of the base; one that is there already is taken again."""
    place = target / "compare" / commit[:12]
    if not place.exists():
        git("worktree", "prune")
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", place, commit], cwd=ROOT, check=True)
    return place


def build(source: Path, target: Path, profile: str) -> Path:
    """The program of the benches of a checkout."""
    command = ["cargo", "bench", "--profile", profile, "--bench", "hot_path", "--no-run", "--message-format", "json"]
    environment = os.environ | {"CARGO_TARGET_DIR": str(target)}
    built = subprocess.run(command, cwd=source, env=environment, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        sys.exit(f"the benches of {source} do not compile")
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    programs = [message["executable"] for message in messages if message.get("target", {}).get("name") == "hot_path"]
    return Path(programs[-1])


def run(program: Path, home: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """The median of each case, in nanoseconds."""
    command = [program, "--bench", "--noplot", "--quiet", "--warm-up-time", "0.3", "--measurement-time", "1"]
    if arguments.cases:
        command.append(arguments.cases)
    # Criterion adds to what it finds.
    subprocess.run(["rm", "-rf", home], check=True)
    ran = subprocess.run(command, env=os.environ | {"CRITERION_HOME": str(home)}, stdout=subprocess.DEVNULL)
    if ran.returncode != 0:
        sys.exit(f"{program} failed")
    figures = {}
    for estimates in home.glob("**/new/estimates.json"):
        case = json.loads((estimates.parent / "benchmark.json").read_text())["full_id"]
        figures[case] = json.loads(estimates.read_text())["median"]["point_estimate"]
    return figures


def table(rounds: list[dict[str, dict[str, float]]]) -> None:
    median = lambda side, case: statistics.median(figures[side][case] for figures in rounds)
    base, here = rounds[0]["base"].keys(), rounds[0]["here"].keys()
    print("\n| case | base | here | here / base | lowest to highest |\n|---|---|---|---|---|")
    for case in sorted(base & here):
        ratios = [figures["here"][case] / figures["base"][case] for figures in rounds]
        columns = [case, time(median("base", case)), time(median("here", case)), f"{statistics.median(ratios):.2f}"]
        print(f"| {' | '.join(columns)} | {min(ratios):.2f} to {max(ratios):.2f} |")
    for case in sorted(here - base):
        print(f"| {case} | | {time(median('here', case))} | | |")
    for case in sorted(base - here):
        print(f"| {case} | {time(median('base', case))} | | | |")


def time(nanoseconds: float) -> str:
    if nanoseconds < 1000:
        return f"{nanoseconds:.1f} ns"
    return f"{nanoseconds / 1000:.1f} µs" if nanoseconds < 1e6 else f"{nanoseconds / 1e6:.1f} ms"


def target_directory() -> Path:
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    metadata = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return Path(json.loads(metadata.stdout)["target_directory"])


def git(*arguments: str) -> str | None:
    """What git says, or nothing where it fails."""
    ran = subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return ran.stdout.strip() if ran.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())

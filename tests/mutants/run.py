#!/usr/bin/env python3
"""Mutation testing in one build: every mutant of cargo-mutants, behind a switch, against the tests that reach it.

cargo-mutants says which mutants there are. `switches` (beside this file) puts all of them into a copy of the sources, each behind
`crate::mutant(<number>)`. Those that do not compile are taken out, as cargo-mutants does. Each test is run once with all
switches off, to learn which mutants it reaches and how long it takes; then each mutant is switched on and the tests that
reach it are run, the quickest first, until one fails. First those of the library; with --sockets those of tests/it as well,
for what the others did not notice. With --again only mutants that were alive when this ran last are tried.

A mutant that no test notices survives. survivors.md beside this file has a reasoned line for each that may; any other
makes this fail.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REASONS = HERE / "survivors.md"
FILES = ["src/tokens/**", "src/vault/**", "src/connect/**", "src/issuer/**", "src/proxy/admit.rs"]
# A test that takes longer than this many times its usual time, and this many seconds, has noticed something.
PATIENCE, AT_LEAST = 8, 30

SWITCH = '''
/// Whether this mutant is on; which one is, the environment says. Notes once that it was asked about.
pub(crate) fn mutant(number: usize) -> bool {
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    static ON: OnceLock<usize> = OnceLock::new();
    static REACHED: [AtomicBool; 8192] = [const { AtomicBool::new(false) }; 8192];
    if !REACHED[number].swap(true, Ordering::Relaxed)
        && let Some(path) = std::env::var_os("MUTANTS_REACHED")
        && let Ok(mut file) = std::fs::File::options().append(true).create(true).open(path)
    {
        let _ = file.write_all(format!("{number}\\n").as_bytes());
    }
    *ON.get_or_init(|| std::env::var("MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX)) == number
}
'''


def run(command, **options):
    return subprocess.run([str(part) for part in command], text=True, **options)


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Place:
    """Where everything lies that is made."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.tree, self.list = directory / "tree", directory / "mutants.json"
        self.target = directory / "target"
        self.environment = dict(os.environ, CARGO_TARGET_DIR=str(self.target), CARGO_TERM_COLOR="never")

    def copy_of_sources(self):
        tracked = run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split("\0")
        for name in filter(None, tracked):
            source, copy = ROOT / name, self.tree / name
            if source.is_file():
                copy.parent.mkdir(parents=True, exist_ok=True)
                if not copy.exists() or copy.read_bytes() != source.read_bytes():
                    shutil.copyfile(source, copy)
                    shutil.copymode(source, copy)

    def with_switches(self, mutants):
        """Edits the copy; the numbers that there is no place for are left out from now on."""
        self.copy_of_sources()
        self.list.write_text(json.dumps(mutants))
        command = ["cargo", "run", "--quiet", "--locked", "--manifest-path", HERE / "Cargo.toml", "--", self.list, self.tree]
        environment = dict(self.environment, CARGO_TARGET_DIR=str(self.directory / "tool"))
        output = run(command, capture_output=True, env=environment)
        if output.returncode != 0:
            sys.exit(output.stderr)
        for number in output.stdout.split():
            mutants[int(number)]["skip"] = "no place for a switch"
        library = self.tree / "src/lib.rs"
        library.write_text(library.read_text() + SWITCH)

    def compiled(self, targets):
        """The programs of the tests, or else the mutants that do not compile."""
        command = ["cargo", "test", *targets, "--no-run", "--message-format=json", "--locked"]
        output = run(command, cwd=self.tree, capture_output=True, env=self.environment)
        made = [json.loads(line) for line in output.stdout.splitlines()]
        if output.returncode == 0:
            return [line["executable"] for line in made if line.get("executable") and line["profile"]["test"]], set()
        wrong, elsewhere = set(), []
        for message in (line["message"] for line in made if isinstance(line.get("message"), dict)):
            if message["level"] != "error" or not message["spans"]:
                continue
            found = {number for span in message["spans"] if (number := self.mutant_at(span)) is not None}
            found = found or self.mutants_before(message)
            wrong |= found
            if not found:
                elsewhere.append(message["rendered"])
        if not wrong:
            sys.exit("\n".join(elsewhere[:5]) or output.stderr)
        return None, wrong

    def mutant_at(self, span):
        """Of the mutants around this place the innermost."""
        while span.get("expansion") and not span["file_name"].startswith("src/"):
            span = span["expansion"]["span"]
        try:
            text = (self.tree / span["file_name"]).read_bytes()
        except OSError:
            return None
        around = []
        for found in re.finditer(rb"/\*([ME])(\d+)\*/", text[: span["byte_start"] + 1]):
            if found[1] == b"M":
                around.append(int(found[2]))
            elif around and around[-1] == int(found[2]):
                around.pop()
        return around[-1] if around else None

    def mutants_before(self, message):
        """What an error may be about that is in no mutant: arms of the match that is not exhaustive, values returned just before."""
        span = next(span for span in message["spans"] if span["is_primary"])
        text = (self.tree / span["file_name"]).read_bytes()
        hints = [hint for child in message["children"] for hint in child["spans"] if hint["file_name"] == span["file_name"]]
        end = max([span["byte_end"], *(hint["byte_end"] for hint in hints)])
        if message["code"] and message["code"]["code"] == "E0004":
            return {int(number) for number in re.findall(rb"/\*M(\d+)\*/ !crate", text[span["byte_start"] : end])}
        line = text.rfind(b"\n", 0, span["byte_start"])
        return {int(number) for number in re.findall(rb"/\*M(\d+)\*/", text[line : span["byte_start"]])}


class Tests:
    """The tests of a program, one process for each."""

    def __init__(self, place: Place, program: str):
        self.place, self.program = place, program
        listed = run([program, "--list", "--format=terse"], capture_output=True, check=True).stdout
        self.names = [line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")]

    def one(self, name, limit, **environment):
        """Whether it passes, and the seconds that it takes; one that does not come to its end does not pass."""
        variables = dict(self.place.environment, RUST_BACKTRACE="0", CARGO_MANIFEST_DIR=str(self.place.tree), **environment)
        began = time.monotonic()
        try:
            command = [self.program, "--exact", name, "--quiet"]
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            output = subprocess.run(command, env=variables, cwd=self.place.tree, timeout=limit, **quiet)
            return output.returncode == 0, time.monotonic() - began
        except subprocess.TimeoutExpired:
            return False, time.monotonic() - began

    def reached(self, jobs):
        """For each mutant the tests that reach it, the quickest first."""
        notes = self.place.directory / "reached" / Path(self.program).name
        shutil.rmtree(notes, ignore_errors=True)
        notes.mkdir(parents=True)

        def one(index_and_name):
            index, name = index_and_name
            file = notes / str(index)
            passes, seconds = self.one(name, 300, MUTANTS_REACHED=str(file))
            numbers = {int(line) for line in file.read_text().split()} if file.exists() else set()
            return name, passes, seconds, numbers

        by_mutant = {}
        with ThreadPoolExecutor(jobs) as pool:
            for name, passes, seconds, numbers in pool.map(one, enumerate(self.names)):
                if not passes:
                    say(f"without any mutant this fails, so it is left out: {name}")
                    continue
                for number in numbers:
                    by_mutant.setdefault(number, []).append((seconds, name))
        return {number: sorted(tests) for number, tests in by_mutant.items()}

    def notices(self, number, tests, minutes):
        """The test that fails with this mutant, if any does within so many minutes of tests."""
        end = time.monotonic() + 60 * minutes
        for seconds, name in tests:
            if time.monotonic() > end:
                return None
            passes, _ = self.one(name, max(AT_LEAST, PATIENCE * seconds), MUTANT=str(number))
            if not passes:
                return name
        return None


def described(mutant):
    """What cargo-mutants calls it, without its line, which changes with every edit."""
    return f"{mutant['file']}: " + re.sub(r"^[^ ]+:\d+:\d+: ", "", mutant["name"])


def reasons():
    return {line[2:].split("`")[1] for line in REASONS.read_text().splitlines() if line.startswith("- `")}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--directory", type=Path, default=ROOT / "target/mutants")
    arguments.add_argument("--only", default="", help="only mutants whose file has this in its name")
    arguments.add_argument("--sockets", action="store_true", help="with the tests of tests/it, too")
    arguments.add_argument("--again", action="store_true", help="only those that were alive when this ran last")
    arguments.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments.add_argument("--minutes", type=float, default=3, help="of tests for one mutant at most")
    options = arguments.parse_args()
    place = Place(options.directory)
    place.directory.mkdir(parents=True, exist_ok=True)
    results = place.directory / "results.json"
    mutants = listed_mutants()
    if options.again:
        earlier = {(mutant["file"], mutant["name"]): mutant for mutant in json.loads(results.read_text())}
        mutants = [earlier.get((mutant["file"], mutant["name"]), mutant) for mutant in mutants]
    programs = with_switches(place, mutants, ["--lib", "--test=it"] if options.sockets else ["--lib"])
    wanted = {
        number
        for number, mutant in enumerate(mutants)
        if not mutant["skip"] and options.only in mutant["file"] and mutant.get("result") not in ("caught",)
    }
    for program in programs:
        try_out(Tests(place, program), mutants, wanted, options)
        results.write_text(json.dumps(mutants, indent=1))
        wanted = {number for number in wanted if mutants[number]["result"] != "caught"}
    return report(mutants)


def listed_mutants():
    wanted = [part for file in FILES for part in ("--file", file)]
    listed = run(["cargo", "mutants", "--list", "--json", *wanted], cwd=ROOT, capture_output=True, check=True).stdout
    mutants = [mutant | {"skip": False} for mutant in json.loads(listed)]
    say(f"{len(mutants)} mutants")
    return mutants


def with_switches(place, mutants, targets):
    """The programs of the tests with all mutants in them that compile."""
    while True:
        flags = [{**mutant, "skip": bool(mutant["skip"])} for mutant in mutants]
        place.with_switches(flags)
        for mutant, flag in zip(mutants, flags, strict=True):
            mutant["skip"] = mutant["skip"] or flag["skip"]
        programs, wrong = place.compiled(targets)
        if programs:
            break
        for number in wrong:
            mutants[number]["skip"] = "does not compile"
        say(f"{len(wrong)} do not compile")
    left = sum(not mutant["skip"] for mutant in mutants)
    say(f"{left} have a switch; of the others {sum(m['skip'] == 'does not compile' for m in mutants)} do not compile")
    return programs


def try_out(tests, mutants, wanted, options):
    """Says of each mutant what these tests make of it."""
    say(f"{len(tests.names)} tests, each once; then {len(wanted)} mutants")
    reached = tests.reached(options.jobs)

    def judge(number):
        by = tests.notices(number, reached[number], options.minutes) if number in reached else None
        return number, by

    with ThreadPoolExecutor(options.jobs) as pool:
        for number, by in pool.map(judge, sorted(wanted)):
            mutant = mutants[number]
            was_reached = number in reached or mutant.get("result") == "survived"
            mutant["result"] = "caught" if by else "survived" if was_reached else "not reached"
            mutant["by"] = by
            if not by:
                say(f"{mutant['result']}: {mutant['name']}")


def report(mutants) -> int:
    kinds = ["caught", "survived", "not reached"]
    per_module = {}
    for mutant in mutants:
        if "result" in mutant:
            module = mutant["file"].split("/")[1].removesuffix(".rs")
            per_module.setdefault(module, dict.fromkeys(kinds, 0))[mutant["result"]] += 1
    print(f"{'module':<12}" + "".join(f"{kind:>13}" for kind in kinds))
    for module, counts in sorted(per_module.items()):
        print(f"{module:<12}" + "".join(f"{counts[kind]:>13}" for kind in kinds))
    known = reasons()
    alive = [mutant for mutant in mutants if mutant.get("result") in ("survived", "not reached")]
    unexplained = [mutant for mutant in alive if described(mutant) not in known]
    print(f"{len(alive)} alive, {len(alive) - len(unexplained)} of them with a reason in {REASONS.name}")
    for mutant in unexplained:
        print(f"  {described(mutant)}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())

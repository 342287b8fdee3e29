#!/usr/bin/env python3
"""Mutation testing in one build: every mutant of cargo-mutants, behind a switch, against the tests that reach it.

cargo-mutants says which mutants there are. `switches` (beside this file) puts all of them into a copy of the sources, each behind
`crate::mutant(<number>)`. Those that do not compile are taken out, as cargo-mutants does. Each test is run once with all
switches off, to learn which mutants it reaches and how long it takes; then each mutant is switched on and the tests that
reach it are run, those first that are quick and noticed much in the same file, until one fails: those of the library, then,
for what they did not notice, those of tests/it. With --again only mutants are tried that were alive when this ran last, or
that it did not come to; with --unexplained only those that have no reason in survivors.md.

A mutant that no test notices survives. survivors.md beside this file has a reasoned line for each that may; any other
makes this fail.
"""

import argparse
import fnmatch
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REASONS = HERE / "survivors.md"
# In the order in which they are tried.
FILES = ["src/vault/**", "src/tokens/**", "src/proxy/admit.rs", "src/issuer/**", "src/connect/**"]
# Compiled for tests and fuzz targets only.
NOT = "**/fuzzing.rs"
TARGETS = {"lib": "--lib", "it": "--test=it"}
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
        self.tree, self.list, self.results = directory / "tree", directory / "mutants.json", directory / "results.json"
        self.target = directory / "target"
        self.environment = dict(os.environ, CARGO_TARGET_DIR=str(self.target), CARGO_TERM_COLOR="never")
        # As they are now: whoever goes on working on them changes nothing here.
        tracked = run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split("\0")
        files = {name: ROOT / name for name in filter(None, tracked)}
        self.sources = {name: (file.read_bytes(), file.stat().st_mode) for name, file in files.items() if file.is_file()}
        self.built = self.as_it_is()

    def copy_of_sources(self):
        for name, (content, mode) in self.sources.items():
            copy = self.tree / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists() or copy.read_bytes() != content:
                copy.write_bytes(content)
                copy.chmod(mode)

    def with_switches(self, mutants):
        """Edits the copy; the mutants that there is no place for are left out from now on."""
        self.copy_of_sources()
        self.list.write_text(json.dumps([{**mutant, "skip": bool(mutant["skip"])} for mutant in mutants]))
        command = ["cargo", "run", "--quiet", "--locked", "--manifest-path", HERE / "Cargo.toml", "--", self.list, self.tree]
        environment = dict(self.environment, CARGO_TARGET_DIR=str(self.directory / "tool"))
        output = run(command, capture_output=True, env=environment)
        if output.returncode != 0:
            sys.exit(output.stderr)
        for number in output.stdout.split():
            mutants[int(number)]["skip"] = "no place for a switch"
        library = self.tree / "src/lib.rs"
        library.write_text(library.read_text() + SWITCH)
        # What is as it was when it was built need not be built again.
        for file, (content, written_at) in self.built.items():
            if file.exists() and file.read_bytes() == content:
                os.utime(file, ns=(written_at, written_at))

    def as_it_is(self):
        return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in (self.tree / "src").rglob("*.rs")}

    def compiled(self, target):
        """The programs of the tests, or else the mutants that do not compile."""
        command = ["cargo", "test", target, "--no-run", "--message-format=json", "--locked"]
        output = run(command, cwd=self.tree, capture_output=True, env=self.environment)
        made = [json.loads(line) for line in output.stdout.splitlines()]
        if output.returncode == 0:
            self.built = self.as_it_is()
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
        self.place, self.program = place, Path(program)
        listed = run([program, "--list", "--format=terse"], capture_output=True, check=True).stdout
        self.names = [line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")]
        # For each mutant the tests that reach it; for each test the seconds that it takes.
        self.by_mutant, self.seconds = {}, {}
        # How often a test was run, and noticed something, for a file.
        self.tries, self.catches = Counter(), Counter()

    def one(self, name, limit, **environment):
        """Whether it passes, and the seconds that it takes; one that does not come to its end does not pass."""
        variables = dict(self.place.environment, RUST_BACKTRACE="0", CARGO_MANIFEST_DIR=str(self.place.tree), **environment)
        command = [self.program, "--exact", name, "--quiet"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        began = time.monotonic()
        with subprocess.Popen(command, env=variables, cwd=self.place.tree, start_new_session=True, **quiet) as process:
            try:
                passes = process.wait(limit) == 0
            except subprocess.TimeoutExpired:
                passes = False
                os.killpg(process.pid, signal.SIGKILL)
        return passes, time.monotonic() - began

    def learn(self, jobs):
        """Which mutants each test reaches, as far as that is not known of this very program."""
        known = self.place.directory / f"reached-{self.program.name}.json"
        is_good = known.exists() and known.stat().st_mtime > self.program.stat().st_mtime
        learnt = [test for test in json.loads(known.read_text()) if test[0] in self.names] if is_good else []
        new = set(self.names) - {name for name, *_ in learnt}
        with ThreadPoolExecutor(jobs) as pool:
            learnt += pool.map(self.reached_by, sorted(new))
        known.write_text(json.dumps(learnt))
        for name, passes, seconds, numbers in learnt:
            if not passes:
                say(f"without any mutant this fails, so it is left out: {name}")
                continue
            self.seconds[name] = seconds
            for number in numbers:
                self.by_mutant.setdefault(number, []).append(name)

    def reached_by(self, name):
        notes = self.place.directory / "reached" / name
        notes.parent.mkdir(exist_ok=True)
        notes.unlink(missing_ok=True)
        passes, seconds = self.one(name, 300, MUTANTS_REACHED=str(notes))
        numbers = {int(line) for line in notes.read_text().split()} if notes.exists() else set()
        return name, passes, seconds, sorted(numbers)

    def promising(self, number, file):
        """Those that reach the mutant, the likeliest to notice in a second first."""
        module = Path(file).with_suffix("").parts[1:]

        def chance(name):
            is_near = len(os.path.commonprefix([module, tuple(name.split("::"))]))
            return (self.catches[file, name] + 1 + is_near) / (self.tries[file, name] + 2) / (self.seconds[name] + 0.02)

        return sorted(self.by_mutant.get(number, []), key=chance, reverse=True)

    def notices(self, number, file, minutes):
        """What becomes of a mutant within so many minutes of tests, and the test that fails with it, if one does."""
        end = time.monotonic() + 60 * minutes
        for name in self.promising(number, file):
            if time.monotonic() > end:
                return "undecided", None
            usual = self.seconds[name]
            limit = max(AT_LEAST, PATIENCE * usual)
            passes, seconds = self.one(name, limit, MUTANT=str(number))
            # A test that waited long may have failed because the machine is busy: then it fails without a mutant as well.
            is_due_to_it = not passes and (seconds < 4 * usual + 2 or self.one(name, limit)[0])
            self.tries[file, name] += 1
            if is_due_to_it:
                self.catches[file, name] += 1
                return "caught", name
        return "survived" if number in self.by_mutant else "not reached", None


def described(mutant):
    """What cargo-mutants calls it, without its line, which changes with every edit."""
    return f"{mutant['file']}: " + re.sub(r"^[^ ]+:\d+:\d+: ", "", mutant["name"])


def keyed(mutants):
    """By what an edit elsewhere leaves: the description, and the how-manieth it is of those that share it."""
    seen, by_key = Counter(), {}
    for mutant in mutants:
        by_key[described(mutant), seen[described(mutant)]] = mutant
        seen[described(mutant)] += 1
    return by_key


def reasons():
    return {line[2:].split("`")[1] for line in REASONS.read_text().splitlines() if line.startswith("- `")}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--directory", type=Path, default=ROOT / "target/mutants")
    arguments.add_argument("--only", default="", help="only mutants whose file has this in its name")
    arguments.add_argument("--tests", nargs="+", choices=list(TARGETS), default=list(TARGETS), help="which, in this order")
    arguments.add_argument("--again", action="store_true", help="only those that were alive when this ran last")
    arguments.add_argument("--unexplained", action="store_true", help="leave out those that may survive")
    arguments.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments.add_argument("--minutes", type=float, default=3, help="of tests for one mutant at most")
    options = arguments.parse_args()
    place = Place(options.directory)
    place.directory.mkdir(parents=True, exist_ok=True)
    place.copy_of_sources()
    mutants = listed_mutants(place.tree)
    place.with_switches(mutants)
    earlier = keyed(json.loads(place.results.read_text())) if place.results.exists() else {}
    for key, mutant in keyed(mutants).items():
        was = earlier.get(key, {})
        # Which do not compile takes half a dozen builds to find out.
        if was.get("skip") == "does not compile":
            mutant["skip"] = mutant["skip"] or was["skip"]
        if options.again and "result" in was:
            mutant |= {"result": was["result"], "by": was["by"]}
    may_survive = reasons() if options.unexplained else set()
    for tests in options.tests:
        programs = with_switches(place, mutants, TARGETS[tests])
        is_wanted = lambda mutant: not mutant["skip"] and options.only in mutant["file"] and mutant.get("result") != "caught"
        wanted = [number for number, mutant in enumerate(mutants) if is_wanted(mutant) and described(mutant) not in may_survive]
        # What is known to be alive comes first.
        wanted.sort(key=lambda number: "result" not in mutants[number])
        for program in programs:
            try_out(Tests(place, program), mutants, wanted, options)
    return report(mutants)


def listed_mutants(tree):
    wanted = [part for file in FILES for part in ("--file", file)]
    command = ["cargo", "mutants", "--list", "--json", "--exclude", NOT, *wanted]
    listed = json.loads(run(command, cwd=tree, capture_output=True, check=True).stdout)
    say(f"{len(listed)} mutants")
    place_of = {mutant["file"]: next(n for n, glob in enumerate(FILES) if fnmatch.fnmatch(mutant["file"], glob)) for mutant in listed}
    for mutant in listed:
        del mutant["diff"]
        mutant["skip"] = False
    return sorted(listed, key=lambda mutant: place_of[mutant["file"]])


def with_switches(place, mutants, target):
    """The programs of the tests with all mutants in them that compile."""
    while True:
        place.with_switches(mutants)
        programs, wrong = place.compiled(target)
        for number in wrong:
            mutants[number]["skip"] = "does not compile"
        place.results.write_text(json.dumps(mutants, indent=1))
        if programs:
            break
        say(f"{len(wrong)} do not compile")
    why = Counter(mutant["skip"] or "have a switch" for mutant in mutants)
    say(", ".join(f"{count} {what}" for what, count in why.items()))
    return programs


def try_out(tests, mutants, wanted, options):
    """Says of each mutant what these tests make of it."""
    say(f"{len(tests.names)} tests, each once; then {len(wanted)} mutants")
    tests.learn(options.jobs)

    def judge(number):
        return number, *tests.notices(number, mutants[number]["file"], options.minutes)

    saved = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        for number, result, by in pool.map(judge, wanted):
            mutant = mutants[number]
            # Those that the tests of the library let live are not out of reach because others do not reach them.
            result = mutant.get("result", result) if result == "not reached" else result
            mutant |= {"result": result, "by": by}
            if not by:
                say(f"{mutant['result']}: {mutant['name']}")
            if time.monotonic() > saved + 20:
                saved = time.monotonic()
                tests.place.results.write_text(json.dumps(mutants, indent=1))
    tests.place.results.write_text(json.dumps(mutants, indent=1))


def report(mutants) -> int:
    kinds = ["caught", "survived", "not reached", "undecided"]
    per_module = {}
    for mutant in mutants:
        if "result" in mutant:
            module = mutant["file"].split("/")[1].removesuffix(".rs")
            per_module.setdefault(module, dict.fromkeys(kinds, 0))[mutant["result"]] += 1
    print(f"{'module':<12}" + "".join(f"{kind:>13}" for kind in kinds))
    for module, counts in sorted(per_module.items()):
        print(f"{module:<12}" + "".join(f"{counts[kind]:>13}" for kind in kinds))
    known = reasons()
    alive = [mutant for mutant in mutants if mutant.get("result") in kinds[1:]]
    unexplained = [mutant for mutant in alive if described(mutant) not in known]
    print(f"{len(alive)} alive, {len(alive) - len(unexplained)} of them with a reason in {REASONS.name}")
    for mutant in unexplained:
        print(f"  {described(mutant)}")
    for line in sorted(known - {described(mutant) for mutant in mutants}):
        print(f"  a reason for what is no mutant: {line}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())

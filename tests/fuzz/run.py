#!/usr/bin/env python3
"""Runs the gateway's fuzz targets under libFuzzer, in turns, and tells how often each was run.

    run.py run PROGRAMS [--out DIR] [--target NAME]... [--runs N] [--seconds N] [--slice N] [--jobs N] [--stop-after N] [--quick]
    run.py report [--out DIR]
    run.py minimise PROGRAMS [--out DIR] [--target NAME]...

PROGRAMS is the directory in which `make fuzz-build` puts a program for each target.

With --quick an input is kept when it reaches a place that none did, and not for reaching one more often; rare places and short inputs
have no preference: more are run in a second.

`run` goes on where an earlier run with the same --out ended: executions add up. Every target has a short first turn, then those
that are done soonest take theirs first.
A target that has found something is not run again until its files in DIR/found are gone. `minimise` writes the smallest set of inputs that reaches as much as all of them into
the corpus of the repository.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
# What is larger says nothing new, and takes longer.
MAX_LENGTH = {"http1_pipeline": 1024, "http1_request": 1024, "config": 2048, "registration": 2048, "metadata": 2048}
# Which places are reached counts, and not how often; none is preferred for being rare, and no input is looked for that is shorter.
QUICK = ("-use_counters=0", "-entropic=0", "-reduce_inputs=0")
# Seconds, to see how fast it is.
FIRST_TURN = 20
# What a file of the repository may have, and all of one target.
MOST_FILES, MOST_BYTES = 50, 90 * 1024


def targets(chosen: list[str]) -> list[str]:
    known = sorted(path.name for path in CORPUS.iterdir() if path.is_dir())
    unknown = [name for name in chosen if name not in known]
    if unknown:
        sys.exit(f"no such target: {', '.join(unknown)}; there are {', '.join(known)}")
    return chosen or known


def figures(out: Path) -> dict[str, tuple[int, float]]:
    """Executions and seconds of each target so far."""
    sums: dict[str, tuple[int, float]] = {}
    rows = out / "figures.tsv"
    for line in rows.read_text().splitlines() if rows.exists() else []:
        name, runs, seconds = line.split("\t")
        before = sums.get(name, (0, 0.0))
        sums[name] = (before[0] + int(runs), before[1] + float(seconds))
    return sums


def latest(out: Path, name: str) -> float:
    """Executions a second in the last turn: earlier ones may be of another program, on a busier machine."""
    lines = (line.split("\t") for line in (out / "figures.tsv").read_text().splitlines())
    rates = [int(runs) / max(float(seconds), 1) for of, runs, seconds in lines if of == name and int(runs)]
    return rates[-1]


def found(out: Path, name: str) -> list[Path]:
    return sorted((out / "found" / name).glob("*"))


def fuzz(program: Path, out: Path, name: str, runs: int, seconds: int, quick: bool) -> bool:
    """Whether it ended as it should."""
    work, crashes = out / "corpus" / name, out / "found" / name
    for directory in (work, crashes, out / "logs"):
        directory.mkdir(parents=True, exist_ok=True)
    command = [
        program,
        f"-runs={runs}",
        f"-max_total_time={seconds}",
        f"-max_len={MAX_LENGTH.get(name, 512)}",
        f"-artifact_prefix={crashes}/",
        "-timeout=20",
        "-rss_limit_mb=4096",
        "-reload=0",
        "-print_final_stats=1",
        *(QUICK if quick else ()),
        str(work),
        str(CORPUS / name),
    ]
    begun = time.monotonic()
    log = out / "logs" / f"{name}.log"
    with log.open("ab") as sink:
        beginning = sink.tell()
        ended = subprocess.run(command, stdout=sink, stderr=sink, check=False)
    with log.open("rb") as source:
        source.seek(beginning)
        text = source.read().decode(errors="replace")
    said = re.findall(r"stat::number_of_executed_units:\s*(\d+)", text)
    # One that crashed says no figures: the last line that has one.
    done = int(said[-1]) if said else max((int(count) for count in re.findall(r"^#(\d+)", text, re.M)), default=0)
    with (out / "figures.tsv").open("a") as rows:
        rows.write(f"{name}\t{done}\t{time.monotonic() - begun:.1f}\n")
    if ended.returncode != 0:
        print(f"{name}: ended with {ended.returncode}: see {log} and {crashes}", flush=True)
    return ended.returncode == 0


def run(arguments: argparse.Namespace) -> int:
    os.nice(19 - os.nice(0))
    out, names = arguments.out, targets(arguments.target)
    out.mkdir(parents=True, exist_ok=True)
    until = {name: figures(out).get(name, (0, 0.0))[1] + arguments.seconds for name in names} if arguments.seconds else {}
    deadline = time.monotonic() + (arguments.stop_after or float("inf"))
    lock, busy = threading.Lock(), set()

    def seconds_left(name: str) -> float:
        """Until it is done, as far as one can tell; 0 for one that was never run."""
        runs, seconds = figures(out).get(name, (0, 0.0))
        if until:
            return until[name] - seconds
        return (arguments.runs - runs) / latest(out, name) if runs else 0.0

    def is_unfinished(name: str) -> bool:
        runs, seconds = figures(out).get(name, (0, 0.0))
        return not found(out, name) and (seconds < until[name] - 1 if until else runs < arguments.runs)

    def begin() -> str | None:
        with lock:
            waiting = [name for name in names if name not in busy and is_unfinished(name)]
            if not waiting or time.monotonic() > deadline - 1:
                return None
            name = min(waiting, key=seconds_left)
            busy.add(name)
            return name

    def work() -> None:
        while name := begin():
            runs, seconds = figures(out).get(name, (0, 0.0))
            length = min(arguments.slice, deadline - time.monotonic())
            if until:
                length = min(length, until[name] - seconds + 1)
            elif not runs:
                length = min(length, FIRST_TURN)
            runs, seconds = -1 if until else arguments.runs - runs, max(1, int(length))
            # One that failed is not begun again.
            if fuzz(arguments.programs / name, out, name, runs, seconds, arguments.quick):
                with lock:
                    busy.remove(name)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        for one in [pool.submit(work) for _ in range(arguments.jobs)]:
            one.result()
    report(arguments)
    return 1 if any(found(out, name) for name in names) else 0


def report(arguments: argparse.Namespace) -> int:
    print(f"| {'target':<16} | {'executions':>13} | {'per second':>10} | {'hours':>5} | found |")
    print("|---|---|---|---|---|")
    total = 0
    for name, (runs, seconds) in sorted(figures(arguments.out).items()):
        total += runs
        crashes = len(found(arguments.out, name))
        print(f"| {name:<16} | {runs:>13,} | {runs / max(seconds, 1):>10,.0f} | {seconds / 3600:>5.2f} | {crashes} |")
    print(f"\n{total:,} executions")
    return 0


def minimise(arguments: argparse.Namespace) -> int:
    for name in targets(arguments.target):
        work = arguments.out / "corpus" / name
        with tempfile.TemporaryDirectory() as directory:
            least = Path(directory)
            command = [arguments.programs / name, "-merge=1", "-max_len=1024", directory, str(CORPUS / name), str(work)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            kept, size = [], 0
            for path in sorted(least.iterdir(), key=lambda path: path.stat().st_size):
                size += path.stat().st_size
                if len(kept) == MOST_FILES or size > MOST_BYTES:
                    break
                kept.append(path)
            # Those that people wrote stay, as far as there is room: they say what the target is about.
            written = sorted((CORPUS / name).iterdir(), key=lambda path: path.stat().st_size)
            for path in kept[: max(0, MOST_FILES - len(written))]:
                shutil.copy(path, CORPUS / name / path.name[:12])
            print(f"{name}: {len(list((CORPUS / name).iterdir()))} files")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, action in (("run", run), ("report", report), ("minimise", minimise)):
        command = commands.add_parser(name)
        command.set_defaults(action=action)
        command.add_argument("--out", type=Path, default=Path(".cache/fuzz/out"))
        if name != "report":
            command.add_argument("programs", type=Path)
            command.add_argument("--target", action="append", default=[])
        if name == "run":
            command.add_argument("--runs", type=int, default=100_000_000)
            command.add_argument("--seconds", type=int, default=0, help="for each target, in the place of --runs")
            command.add_argument("--slice", type=int, default=300, help="seconds of a turn")
            command.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at a time")
            command.add_argument("--quick", action="store_true", help="libFuzzer keeps fewer books")
            command.add_argument("--stop-after", type=int, default=0, help="seconds of the whole run")
    arguments = parser.parse_args()
    return arguments.action(arguments)


if __name__ == "__main__":
    sys.exit(main())

"""Whether every security case has a row, and every row a test whose name carries its number or a reason why it needs none."""

import pathlib
import re

# The numbers of each section. Whoever adds a case counts it here.
NUMBERS = {"A": 49, "B": 70, "C": 24}
DUTIES = {"d1a": 22, "d1b": 4, "d1c": 8, "d1d": 10, "d1e": 7, "d2": 11, "de": 6, "df": 9}

ROW = re.compile(r"^\| (?P<case>[A-C]\d+|d\w+_\d\d) \|(?P<rest>.*)\|$")
TEST = re.compile(r"`[\w./-]+\.(?:rs|ts|py)(?:::(?P<name>\w+))?`")


def check(root: pathlib.Path) -> list[str]:
    table, reasons = root / "docs/security/cases.md", root / "docs/security/not-applicable.md"
    if not table.is_file():
        return []
    reasoned = set(_rows(reasons)) if reasons.is_file() else set()
    rows = _rows(table)
    expected = {f"{letter}{number}" for letter, last in NUMBERS.items() for number in range(1, last + 1)}
    expected |= {f"{section}_{number:02}" for section, last in DUTIES.items() for number in range(1, last + 1)}
    problems = [f"{table}:1: {case} has no row" for case in sorted(expected - set(rows))]
    problems += [f"{reasons}: there is no case {case}" for case in sorted(reasoned - expected)]
    for case, found in rows.items():
        for number, rest in found:
            where = f"{table}:{number}"
            if case not in expected:
                problems.append(f"{where}: there is no case {case}")
            if len(found) > 1:
                problems.append(f"{where}: {case} has several rows")
            tests = list(TEST.finditer(rest))
            if not tests and not case.startswith("C") and case not in reasoned:
                problems.append(f"{where}: {case} has neither a test nor a line in not-applicable.md")
            problems += [
                f"{where}: {case}: the name of {test[0]} does not carry the number"
                for test in tests
                if case[0] in "AB" and case not in numbers(test["name"] or "")
            ]
    return problems


def numbers(name: str) -> set[str]:
    """The cases that the beginning of a test's name says: `a4_b58_state_…` is A4 and B58."""
    leading = re.match(r"(?:[ab]\d+_)*", name)[0]
    return {f"{part[0].upper()}{int(part[1:])}" for part in leading.split("_") if part}


def _rows(file: pathlib.Path) -> dict[str, list[tuple[int, str]]]:
    rows: dict[str, list[tuple[int, str]]] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if row := ROW.match(line):
            rows.setdefault(row["case"], []).append((number, row["rest"]))
    return rows

"""Run the benchmarks and write the results: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import machine, pictures, render
from benchmarks.build import BuildError, build, certificate
from benchmarks.model import Row
from benchmarks.process import cores
from benchmarks.rounds import Bench, Result, rounds_of, run, why_not
from benchmarks.rows import ROWS

HERE = Path(__file__).parent

#: The facts above the results, and the results by the name of their row.
Page = tuple[dict[str, str], dict[str, Result]]


#: The exit code of a program that SIGINT has ended, as a shell reports it.
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Build, run, render. Return the exit code."""
    asked = arguments(argv)
    try:
        return measure(asked)
    except (BuildError, LookupError) as error:
        print(f"benchmarks: {error.args[0]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmarks: interrupted before a row was complete: nothing is written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # as with `| head`
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # what is buffered goes nowhere, and no error follows
        return 1


def measure(asked: argparse.Namespace) -> int:
    """Do what is asked. Return the exit code."""
    if asked.list:
        print("\n".join(f"{row.name:16} {row.title}" for row in ROWS), flush=True)
        return 0
    folder = asked.output or HERE
    before: Page = ({}, {})
    if asked.render or asked.again:
        before = read_page(folder)
    if asked.render:
        write_page(folder, *before)
        return 0
    rows = chosen(asked.rows)
    shown_only = asked.quick and asked.output is None
    if not shown_only:
        prepare(folder)
    facts = machine.facts() | {"Rounds": rounds_text(asked, rows)} | ({"Note": asked.note} if asked.note else {})
    results = run_rows(rows, asked)
    complete = [row for row in rows if row.name in results]
    if not complete:
        raise KeyboardInterrupt
    code = 0 if len(complete) == len(rows) else INTERRUPTED
    if machine.commit() != facts["Commit"]:
        facts["Commit"] += f" at the start, {machine.commit()} at the end"
    if shown_only:
        print(render.summary(complete, results))
        return code
    page = added(before, (facts, results)) if asked.again else (facts, results)
    (folder / "results.json").write_text(
        json.dumps({"facts": page[0], "rows": {name: asdict(each) for name, each in page[1].items()}}, indent=1) + "\n"
    )
    write_page(folder, *page)
    return code


def prepare(folder: Path) -> None:
    """Make the folder of the results, before rows are run for an hour. Raises LookupError if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise LookupError(f"cannot write results to {folder}: {error.strerror}") from error


def added(before: Page, now: Page) -> Page:
    """Replace earlier rows by new ones, each with the facts that differ."""
    facts, results = before
    differs = {name: value for name, value in now[0].items() if facts.get(name) != value}
    return facts, results | {name: replace(each, again=differs) for name, each in now[1].items()}


def write_page(folder: Path, facts: dict[str, str], results: dict[str, Result]) -> None:
    """Draw and render the results, with the texts of ``tried/ROW.md`` beside this file."""
    rows = [row for row in ROWS if row.name in results]
    drawn = pictures.draw(rows, results, folder / "pictures")
    tried = {path.stem: path.read_text() for path in (HERE / "tried").glob("*.md")}
    (folder / "RESULTS.md").write_text(render.page(facts, ROWS, results, drawn, tried))
    print(f"wrote {folder / 'RESULTS.md'}")


def read_page(folder: Path) -> Page:
    """Read the earlier results. Raises LookupError if there are none, or if they cannot be read."""
    try:
        kept = json.loads((folder / "results.json").read_text())
        return kept["facts"], {name: Result(**each) for name, each in kept["rows"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LookupError(f"{folder / 'results.json'}: {error}") from error


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=positive(int), help="rounds of every row (default: 11)")
    parser.add_argument("--seconds", type=positive(float), help="of load per server and round (default: 1)")
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="only these; a prefix names several")
    parser.add_argument(
        "--quick", action="store_true", help="2 rounds of 0.2 s, at most 300 connections; writes nothing"
    )
    parser.add_argument("--output", type=Path, help="the folder to write to (default: benchmarks)")
    parser.add_argument("--note", help="a sentence about this run, for the page")
    parser.add_argument("--render", action="store_true", help="run nothing: write the page of the last results again")
    parser.add_argument(
        "--again", action="store_true", help="put these rows in the place of those measured before, and say so"
    )
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    asked = parser.parse_args(argv)
    asked.rounds = asked.rounds or (2 if asked.quick else 11)
    asked.seconds = asked.seconds or (0.2 if asked.quick else 1.0)
    return asked


def positive(number: Callable[[str], float]) -> Callable[[str], float]:
    """Return a function that reads a finite number above zero."""

    def read(text: str) -> float:
        try:
            value = number(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"{text!r}; expected a {number.__name__} above 0")
        return value

    return read


def chosen(names: list[str]) -> list[Row]:
    """The rows with these names or prefixes, in the table's order; all rows if ``names`` is empty."""
    for name in names:
        if not any(row.name.startswith(name) for row in ROWS):
            raise LookupError(f"no row {name!r}; there are {', '.join(row.name for row in ROWS)}")
    return [row for row in ROWS if not names or any(row.name.startswith(name) for name in names)]


def rounds_text(asked: argparse.Namespace, rows: list[Row]) -> str:
    """The number and length of rounds, for the page, with the rows that have fewer rounds."""
    server, load = cores()
    counts = {row.name: rounds_of(row, asked.rounds) for row in rows}
    others = [f"{name} {count}" for name, count in counts.items() if count != asked.rounds]
    but = f" ({', '.join(others)})" if others else ""
    where = f"server on core {server}, load on core {load}" if server != load else "server and load on ONE core"
    return f"{asked.rounds} of {asked.seconds:g} s{but}, {where}"


def run_rows(rows: list[Row], asked: argparse.Namespace) -> dict[str, Result]:
    """Run the rows one after another. Ctrl-C or SIGTERM ends the run; complete rows are kept."""
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory(prefix="fourtuple-benchmarks-") as name:
        folder = Path(name)
        tls_load = build(folder)
        most = 300 if asked.quick else None
        bench = Bench(folder, certificate(folder), asked.seconds, asked.rounds, say, most)
        for row in rows:
            reason = why_not(row, bench, tls_load)
            try:
                results[row.name] = Result(why_not=reason) if reason else run(row, bench)
            except KeyboardInterrupt:
                say(f"interrupted in {row.name}; complete: {', '.join(results) or 'no row'}", keep=True)
                break
            for subject, why in results[row.name].skipped.items():
                say(f"{row.name}: {subject} skipped: {why}", keep=True)
    say("")
    return results


def say(text: str, *, keep: bool = False) -> None:
    """Show progress on one line of a terminal. Elsewhere, print only the lines to ``keep``."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="\n" if keep else "", file=sys.stderr, flush=True)
    elif keep:
        print(text, file=sys.stderr)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())

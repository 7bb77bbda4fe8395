"""Two trees of fourtuple, measured in the same rounds: ``python -m benchmarks.paired OLD_TREE``.

OLD_TREE is a checkout of another commit with its C built in place (``pip install -e``), for the interpreter that runs
this. Its servers import fourtuple and ``benchmarks.peers`` from there; the load and the accounting are this tree's. In
every round each row's servers have their turn, old and new, so the page shows ratios made within a round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import machine
from benchmarks.__main__ import chosen, positive, say
from benchmarks.build import BuildError, build, certificate
from benchmarks.model import Bar, Row, Subject
from benchmarks.ratios import ratios, spread
from benchmarks.render import number
from benchmarks.rounds import Bench, Result, run, why_not
from benchmarks.rows import BY_BEFORE, SAME

HERE = Path(__file__).parent
BEFORE = ", before"
#: The programs that import fourtuple.
OURS = ("fourtuple_server", "command")

HEAD = """\
# Before and after

Written by `python -m benchmarks.paired`; do not edit. The same servers of two commits, in the same rounds: a ratio is
new by old, made within a round; the table shows the median of these ratios and their quartiles. Below 1 is better for
CPU, latency and memory; above 1 for MiB/s. The rows are those of [RESULTS.md](RESULTS.md). A bar is reached if the
median reaches it; `within the noise` means that only the better quartile does.
"""


def of_tree(subject: Subject, tree: Path) -> Subject:
    """The same server, of the other tree, with the same service: that tree may lack its file.

    PYTHONSAFEPATH keeps this tree's folder from coming first (python(1), -P).
    """
    path = f"{tree / 'src'}:{tree}"
    if subject.program in OURS:
        file, *more = subject.arguments
        subject = replace(subject, arguments=(str(HERE / "services" / file), *more))
    environment = (*subject.environment, ("PYTHONPATH", path), ("PYTHONSAFEPATH", "1"))
    return replace(subject, name=subject.name + BEFORE, environment=environment)


def paired(row: Row, tree: Path) -> Row:
    """The row with our servers alone, of both trees, one behind the other."""
    ours = [subject for subject in row.subjects if subject.program in OURS and not row.parts]
    return replace(row, subjects=tuple(each for one in ours for each in (of_tree(one, tree), one)), bars=())


def bar_of(row: Row, name: str) -> Bar:
    """What a server may cost by the same one of the old tree."""
    limit = BY_BEFORE.get((row.name, name), SAME)
    return Bar(None, 2 - limit, at_least=True) if row.measure.more_is_better else Bar(None, limit)


def page(facts: Mapping[str, str], rows: Sequence[Row], results: Mapping[str, Result]) -> str:
    """Results in, Markdown out."""
    lines = [HEAD, *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += [
        "| row | server | old | new | new by old | quartiles | rounds | bar | |",
        f"|---|---|---:|---:|---:|{'---|' * 4}",
    ]
    for row in rows:
        result = results.get(row.name)
        if result is None:
            continue
        if result.why_not:
            lines.append(f"| {row.name} | left out: {result.why_not} | | | | | | | |")
        for name, new in result.samples.items():
            old = result.samples.get(name + BEFORE)
            if old is None:
                continue
            ratio, was, now = spread(ratios(new, old)), spread(old), spread(new)
            if ratio is None or was is None or now is None:
                continue
            bar = bar_of(row, name)
            lines.append(
                f"| {row.name} | {name} | {number(was.median)} | {number(now.median)} | **{ratio.median:.3f}** "
                f"| {ratio.low:.3f} to {ratio.high:.3f} | {ratio.count} | {bar} | {bar.verdict(ratio)} |"
            )
        lines += [f"| {row.name} | {name}: {why} | | | | | | | |" for name, why in result.skipped.items()]
    units = {row.measure.value for row in rows}
    return "\n".join([*lines, "", f"Units: {'; '.join(sorted(units))}.", ""])


def main(argv: list[str] | None = None) -> int:
    """Build the load, run the rows, write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paired", description=__doc__)
    parser.add_argument("tree", type=Path, help="the checkout of the old commit, its C built in place")
    parser.add_argument("--rounds", type=positive(int), default=11)
    parser.add_argument(
        "--seconds", type=positive(float), default=0.5, help="of load per server and round (default: 0.5)"
    )
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="only these; a prefix names several")
    parser.add_argument("--output", type=Path, default=HERE / "PAIRED.md")
    asked = parser.parse_args(argv)
    tree = asked.tree.resolve()
    try:
        rows = [paired(row, tree) for row in chosen(asked.rows)]
        old = subprocess.check_output(["git", "-C", tree, "log", "-1", "--format=%h %s"], text=True).strip()
        facts = {**machine.facts(), "Old": old, "Rounds": f"{asked.rounds} of {asked.seconds:g} s"}
        results: dict[str, Result] = {}
        with tempfile.TemporaryDirectory(prefix="fourtuple-paired-") as name:
            folder = Path(name)
            tls_load = build(folder)
            bench = Bench(folder, certificate(folder), asked.seconds, asked.rounds, say)
            for row in rows:
                if row.subjects:
                    reason = why_not(row, bench, tls_load)
                    results[row.name] = Result(why_not=reason) if reason else run(row, bench)
                    asked.output.write_text(page(facts, rows, results))
    except (BuildError, LookupError, subprocess.CalledProcessError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    say("")
    return 0


if __name__ == "__main__":
    sys.exit(main())

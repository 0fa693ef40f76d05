"""A table and a plot of what `loaders.py` measured.

    python benchmarks/loader_report.py [loaders.json] [--plot loaders.svg]

In: the JSON. Out: Markdown on stdout: for each workload, cache and number of threads every contender's median, minimum
and maximum over its processes, beside the limit that it could reach; then the goals and what was reached.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LIMITS = ("copy", "gather", "resize", "decode")


def present_names(text: str) -> str:
    """The text of a result with today's name of the engine that 0.1.0 called `ffcv`."""
    return text.replace("fastrad ffcv,", "fastrad direct,").replace("(ffcv)", "(direct)")


def _runs(result: dict, **facts: Any) -> list[dict]:
    """The successful runs with these facts."""
    return [r for r in result["runs"] if "error" not in r and all(r[key] == value for key, value in facts.items())]


def _rates(runs: list[dict]) -> list[float]:
    """Images/s of each process."""
    return [statistics.median(run["images_per_second"]) for run in runs]


def _median(result: dict, key: str | None = None, **facts: Any) -> float | None:
    runs = _runs(result, **facts)
    values = _rates(runs) if key is None else [run[key] for run in runs]
    return statistics.median(values) if values else None


def _is_ours(name: str) -> bool:
    return name.startswith("fastrad")


def _limit_of(name: str, workload: str) -> dict[str, str]:
    """The limit of a loader, and the workload under which that was measured; none was for decoding PNG."""
    if "PNG" in name:
        return {}
    if "JPEG" in name:
        return {"name": "decode", "workload": "B"}
    return {"name": "copy", "workload": "A"} if workload == "A" else {"name": "resize", "workload": "B"}


def _section(result: dict, workload: str, threads: int, cold: bool) -> list[str]:
    facts = {"workload": workload, "threads": threads, "cold": cold}
    names = list(dict.fromkeys(run["name"] for run in _runs(result, **facts)))
    rates = {name: _rates(_runs(result, name=name, **facts)) for name in names}
    lines = [
        f"### Workload {workload}, {threads} thread{'s' * (threads > 1)}, {'cold' if cold else 'warm'}",
        "",
        "| loader | images/s | min to max | of its limit | images/CPU-s | first batch, s | gap p50 / p95 / p99, ms "
        "| memory, MB | bytes an image |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in sorted(names, key=lambda name: -statistics.median(rates[name])):
        rate = statistics.median(rates[name])
        cells = [name, f"{rate:,.0f}", f"{min(rates[name]):,.0f} to {max(rates[name]):,.0f}"]
        if name in _LIMITS:
            lines.append("| " + " | ".join([f"*limit: {name}*", *cells[1:], *[""] * 6]) + " |")
            continue
        its_limit = _limit_of(name, workload)
        limit = _median(result, **{**facts, **its_limit}) if its_limit else None
        cells.append(f"{rate / limit:.2f}" if limit else "")
        cells.append(f"{_median(result, 'images_per_cpu_second', name=name, **facts):,.0f}")
        cells.append(f"{_median(result, 'first_batch_seconds', name=name, **facts):.2f}")
        gaps = (_median(result, f"gap_p{share}", name=name, **facts) for share in (50, 95, 99))
        cells.append(" / ".join(f"{gap:.1f}" for gap in gaps))
        cells.append(f"{_median(result, 'memory_mb', name=name, **facts):,.0f}")
        cells.append(f"{result['bytes_an_image'].get(name, 0):,}")
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _left_out(result: dict) -> list[str]:
    """Who is not ranked, and why."""
    lines = []
    for name, checks in result["checks"].items():
        for workload, found in checks.items():
            if "error" in found:
                lines.append(f"- {name}, workload {workload}: not ranked: {found['error']}")
    for run in result["runs"]:
        if "error" in run:
            lines.append(f"- {run['name']}, workload {run['workload']}, {run['threads']} threads: {run['error']}")
    return [*dict.fromkeys(lines), ""] if lines else []


def goals(result: dict, threads: int = 2, key: str | None = None) -> list[tuple[str, float, float]]:
    """(goal, what is asked, what was reached) of the warm runs, by images/s or by another rate."""

    def rate(name: str, workload: str) -> float:
        return _median(result, key, name=name, workload=workload, threads=threads, cold=False) or 0.0

    def fastest(workload: str, chosen: Callable[[str], bool]) -> float:
        names = {run["name"] for run in result["runs"] if run["name"] not in _LIMITS and chosen(run["name"])}
        return max((rate(name, workload) for name in names), default=0.0)

    def over(value: float, base: float) -> float:
        return value / base if base else float("nan")

    ours, ours_jpeg = "fastrad direct, raw", "fastrad direct, JPEG"
    return [
        ("A / copy", 0.8, over(rate(ours, "A"), rate("copy", "A"))),
        ("A / fastest peer", 2.0, over(rate(ours, "A"), fastest("A", lambda name: not _is_ours(name)))),
        ("B / resize", 0.7, over(rate(ours, "B"), rate("resize", "B"))),
        ("B / fastest peer", 6.0, over(rate(ours, "B"), fastest("B", lambda name: not _is_ours(name)))),
        ("B / stock FFCV", 10.0, over(rate(ours, "B"), fastest("B", lambda name: name.startswith("FFCV")))),
        ("JPEG B / decode", 0.75, over(rate(ours_jpeg, "B"), rate("decode", "B"))),
    ]


def _goals_table(result: dict) -> list[str]:
    lines = ["| goal, two threads, warm | asked | reached, by time | by CPU time |", "|---|---|---|---|"]
    by_time, by_cpu = goals(result), goals(result, key="images_per_cpu_second")
    for (name, asked, reached), (_, _, of_cpu) in zip(by_time, by_cpu, strict=True):
        lines.append(f"| {name} | {asked:g} | {reached:.2f} | {of_cpu:.2f} |")
    for workload in "AB":
        facts = {"name": "fastrad direct, raw", "workload": workload, "threads": 2, "cold": False}
        p99, p50 = (_median(result, key, **facts) for key in ("gap_p99", "gap_p50"))
        if p99 and p50:
            lines.append(f"| gap p99 / p50 in {workload} | at most 3 | {p99 / p50:.2f} | |")
    return lines


def table(result: dict) -> str:
    """The whole report as Markdown."""
    lines: list[str] = []
    kinds = sorted({(run["cold"], run["workload"], -run["threads"]) for run in result["runs"]})
    for cold, workload, threads in kinds:
        lines += _section(result, workload, -threads, cold)
    lines += _left_out(result)
    if "note" in result:
        lines += [result["note"], ""]
    loads = [run["load"] for run in result["runs"]]
    if loads:
        cores = result["sessions"][-1]["cores"]
        lines += [f"Load average before the runs: {min(loads)} to {max(loads)} on {cores} cores.", ""]
    lines += _goals_table(result)
    return "\n".join(lines)


def plot(result: dict, path: Path, threads: int = 2) -> None:
    """Bars of images/s for each workload, warm."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "fastrad"
    from matplotlib import pyplot

    workloads = sorted({run["workload"] for run in _runs(result, threads=threads, cold=False)})
    shown = [{run["name"] for run in _runs(result, workload=each, threads=threads, cold=False)} for each in workloads]
    counts = [len(names) for names in shown]
    figure, axes = pyplot.subplots(
        len(workloads),
        figsize=(9, 0.26 * sum(counts) + 1.2 * len(workloads)),
        squeeze=False,
        height_ratios=[count + 3 for count in counts],
    )
    for axis, workload in zip(axes[:, 0], workloads, strict=True):
        facts = {"workload": workload, "threads": threads, "cold": False}
        names = {run["name"] for run in _runs(result, **facts)}
        rates = {name: _rates(_runs(result, name=name, **facts)) for name in names}
        ordered = sorted(names, key=lambda name: statistics.median(rates[name]))
        middle = [statistics.median(rates[name]) for name in ordered]
        low = [rate - min(rates[name]) for name, rate in zip(ordered, middle, strict=True)]
        high = [max(rates[name]) - rate for name, rate in zip(ordered, middle, strict=True)]
        colours = ["0.8" if name in _LIMITS else "tab:blue" if _is_ours(name) else "tab:orange" for name in ordered]
        labels = [f"limit: {name}" if name in _LIMITS else name for name in ordered]
        bars = axis.barh(labels, middle, xerr=(low, high), color=colours, error_kw={"lw": 0.8})
        axis.bar_label(bars, [f"{rate:,.0f}" for rate in middle], padding=4, fontsize=8)
        axis.set(title=f"Workload {workload}", xlabel="images/s")
        axis.margins(x=0.15, y=0.02)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.locator_params(axis="x", nbins=6)
        axis.spines[["top", "right"]].set_visible(False)
    loads = [run["load"] for run in _runs(result, threads=threads, cold=False)]
    title = f"{result['images']:,} gray images, 224 x 224, {threads} threads; bars: median, lines: min to max"
    figure.suptitle(f"{title}\nload average before the runs {min(loads)} to {max(loads)}", fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path, nargs="?", default=Path(__file__).parent / "results" / "loaders.json")
    parser.add_argument("--plot", type=Path, help=".svg or .png")
    arguments = parser.parse_args()
    measured = json.loads(present_names(arguments.result.read_text()))
    print(table(measured))
    if arguments.plot:
        plot(measured, arguments.plot)

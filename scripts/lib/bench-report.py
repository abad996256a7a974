#!/usr/bin/env python3
"""Puts the results of scripts/bench into docs/benchmarks.md and draws them.

    scripts/lib/bench-report.py results|growth RESULTS CONDITIONS DOCUMENT CHART

RESULTS is what measure.py wrote, CONDITIONS one line about machine and rounds. The part of DOCUMENT between the lines
`<!-- results -->` and `<!-- end of results -->` is replaced, or the one between those of `growth`. CHART is an SVG that
can be read on light and dark grounds. Of results it has one bar for each command, as long as its median wall time is to
the longest of its workload; of growth, wall and CPU time over the number of files and of layers, both logarithmic.
"""

import json
import math
import os
import re
import sys

from bars import STYLE, WIDTH, bar_chart


def plot(points, unknown, left, top):
    """One diagram: `points` are (count, wall, CPU)."""
    width, height = WIDTH / 2 - 70, 220
    counts = [math.log10(count) for count, _, _ in points]
    times = [math.log10(max(time, 0.001)) for _, wall, cpu in points for time in (wall, cpu)]
    least, most = math.floor(min(times)), math.ceil(max(times))
    across = lambda count: left + width * (math.log10(count) - counts[0]) / max(counts[-1] - counts[0], 1)
    down = lambda time: top + height * (most - math.log10(max(time, 0.001))) / max(most - least, 1)
    for power in range(least, most + 1):
        y = down(10**power)
        yield f'<line class="rule" x1="{left}" x2="{left + width:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10**power:g} s</text>'
    for count, _, _ in points:
        yield f'<text x="{across(count):.1f}" y="{top + height + 20}" text-anchor="middle">{count:,}</text>'
    for place, kind in ((1, "ours"), (2, "bar")):
        line = " ".join(f"{across(point[0]):.1f},{down(point[place]):.1f}" for point in points)
        yield f'<polyline class="line-{kind}" points="{line}"/>'
    yield f'<text class="title" x="{left}" y="{top - 12}">{unknown}: wall (green), CPU (grey)</text>'


def series(results, pattern):
    """Points of the results whose title has a count at the place of the pattern's group."""
    found = ((re.fullmatch(pattern, result["title"]), result["rows"][-1]) for result in results)
    return [(int(match[1]), row["wall"], row["cpu"]) for match, row in found if match]


def growth_chart(results):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 290" role="img" aria-label="Growth of time">'
    lines = [head, f"<style>{STYLE}</style>"]
    lines += plot(series(results, r"(\d+) files in 1 layer"), "files", 60, 30)
    lines += plot(series(results, r"12800 files in (\d+) layers"), "layers", WIDTH / 2 + 50, 30)
    return "\n".join([*lines, "</svg>", ""])


def tables(results):
    for result in results:
        yield from ("", f"### {result['title']}", "", *result["table"])


def growth_table(results):
    """One table, and what one more file costs between the first and the last of them."""
    yield from ("", "| what | wall s | CPU s | peak MiB |", "|---|---:|---:|---:|")
    for result in results:
        row = result["rows"][-1]
        yield f"| {result['title']} | {row['wall']:.3f} | {row['cpu']:.2f} | {row['peak']:.0f} |"
    files = [(int(result["title"].split()[0]), result["rows"][-1]["peak"]) for result in results if result["title"].endswith(" 1 layer")]
    (few, low), (many, high) = min(files), max(files)
    if many > few:
        yield from ("", f"Memory from {few:,} to {many:,} files: {(high - low) * 2**20 / (many - few):.0f} bytes for each.")


def main():
    part, results_file, conditions, document, chart_file = sys.argv[1:]
    with open(results_file, encoding="utf-8") as file:
        results = json.load(file)
    with open(document, encoding="utf-8") as file:
        text = file.read()
    tabular, drawn, caption = {
        "growth": (growth_table, growth_chart, "Time over the number of files and of layers"),
        "results": (tables, bar_chart, "Wall time of every command, by workload"),
    }[part]
    before, begin, rest = text.partition(f"<!-- {part} -->")
    _, end, after = rest.partition(f"<!-- end of {part} -->")
    if not begin or not end:
        sys.exit(f"error: no lines <!-- {part} --> and <!-- end of {part} --> in {document}")
    picture = f"![{caption}]({os.path.relpath(chart_file, os.path.dirname(document))})"
    section = "\n".join([begin, "", conditions, *tabular(results), "", picture, "", end])
    with open(document, "w", encoding="utf-8") as file:
        file.write(before + section + after)
    with open(chart_file, "w", encoding="utf-8") as file:
        file.write(drawn(results))


main()

"""Bars for wall times, as an SVG that can be read on light and dark grounds."""

from xml.sax.saxutils import escape

WIDTH, NAMES, BAR, GAP = 860, 300, 18, 6

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.bar { fill: #8c959f }
.ours { fill: #1a7f37 }
.rule { stroke: #d1d9e0 }
polyline { fill: none; stroke-width: 2 }
.line-ours { stroke: #1a7f37 }
.line-bar { stroke: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .bar { fill: #6e7681 }
  .ours { fill: #3fb950 }
  .rule { stroke: #3d444d }
  .line-ours { stroke: #3fb950 }
  .line-bar { stroke: #6e7681 }
}
"""


def bars(result, top):
    """The SVG elements of one workload: its rows by their time, ours in green."""
    longest = max(row["wall"] for row in result["rows"])
    yield f'<text class="title" x="0" y="{top + 14}">{escape(result["title"])}</text>'
    y = top + 24
    for row in sorted(result["rows"], key=lambda row: row["wall"]):
        length = max(1.0, (WIDTH - NAMES - 80) * row["wall"] / longest)
        kind = "ours" if row.get("ours", row["name"].startswith("bootdisk")) else "bar"
        yield f'<text x="{NAMES - 8}" y="{y + 14}" text-anchor="end">{escape(row["name"])}</text>'
        yield f'<rect class="{kind}" x="{NAMES}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>'
        yield f'<text x="{NAMES + length + 6:.1f}" y="{y + 14}">{seconds(row["wall"])} s</text>'
        y += BAR + GAP


def seconds(wall):
    return f"{wall:.2f}" if wall >= 0.1 else f"{wall:.3f}"


def height(result):
    return 24 + len(result["rows"]) * (BAR + GAP) + 16


def bar_chart(results):
    lines, top = [], 8
    for result in results:
        lines += bars(result, top)
        top += height(result)
        lines.append(f'<line class="rule" x1="0" x2="{WIDTH}" y1="{top - 10}" y2="{top - 10}"/>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" aria-label="Wall time by workload">'
    return "\n".join([head, f"<style>{STYLE}</style>", *lines, "</svg>", ""])

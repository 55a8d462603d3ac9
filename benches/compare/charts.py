# Bar charts as SVG: one group of bars per scenario, one bar per broker, with its figure and spread. By hand, so that the
# runner needs only Python's standard library. Pure, except for `write_all`.

import statistics
import textwrap
from xml.sax.saxutils import escape

import durability
from cells import Cell

# Sizes in pixels: the chart, the column of titles, the longest bar, a bar, the gaps between bars and between groups.
WIDTH, LABELS, BARS, BAR, GAP, BETWEEN = 860, 230, 520, 18, 3, 16
MARGIN, HEADING, LINE, LETTERING, LETTER = 12, 22, 20, 16, 7
# Leveret's colours, and those of other brokers in their order. All are readable on white and on black.
OURS = {"leveret": "#2a9d6f", durability.WEAKER: "#8f9f3a"}
OTHERS = ("#e07b39", "#6a8fd0", "#b56aa0", "#8a8a8a")
# Dark if the reader's system is. Viewers without style sheets use the attributes, which are light.
STYLE = ("<style>@media (prefers-color-scheme: dark) { .paper { fill: #0d1117 } .ink { fill: #e6edf3 } "
         ".faint { fill: #9da7b3 } .line { stroke: #e6edf3 } }</style>")
# File of each chart, heading, tables, path to the figure, digits after the point.
CHARTS = (
    ("throughput.svg", "Messages per second: longer is better", ("rate",), ("rate",), 0),
    ("sizes.svg", "Messages per second by size of body: longer is better", ("size",), ("rate",), 0),
    ("routing.svg", "Messages received per second: longer is better", ("routing",), ("rate",), 0),
    ("cpu.svg", "CPU seconds of the broker per million messages: shorter is better", ("rate", "size", "routing"),
     ("broker", "cpu_seconds_per_million"), 2),
    ("latency.svg", "End-to-end latency, 99th percentile, in ms: shorter is better", ("latency",),
     ("latency_ms", "p99"), 2),
    ("queues.svg", "Queues declared per second: longer is better", ("queues",), ("/", "queues", "declared_per_second"),
     0),
    ("connections.svg", "Memory per idle connection, in KB: shorter is better", ("connections",),
     ("/", "connections", "kilobytes_each"), 1),
)


def write_all(document, folder):
    """Writes all charts that have figures."""
    for name, heading, kinds, path, digits in CHARTS:
        drawn = chart(document, heading, kinds, path, digits)
        if drawn:
            (folder / name).write_text(drawn)


def chart(document, heading, kinds, path, digits):
    """One chart; `None` without figures."""
    groups = []
    for row in document["scenarios"]:
        if row["table"] in kinds:
            bars = [(peer["name"], Cell(document, row["name"], peer["name"]).values(*path))
                    for peer in document["peers"]]
            bars = [(peer, values) for peer, values in bars if values]
            if bars:
                groups.append((row["title"], bars))
    if not groups:
        return None
    colours = _colours(document["peers"])
    shown = {peer for _, bars in groups for peer, _ in bars}
    legend, top = _legend([peer for peer in document["peers"] if peer["name"] in shown], colours)
    body = [_text(MARGIN, top + 13, _note(groups), "faint", size=12)]
    top += LINE + BETWEEN / 2
    for title, bars in groups:
        drawn, bottom = _group(top, title, bars, colours, digits)
        body += drawn
        top = bottom + BETWEEN
    height = round(top)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">', STYLE,
        f'<rect class="paper" width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(MARGIN, HEADING, heading, size=16, bold=True), *legend, *body, "</svg>", ""])


def _group(top, title, bars, colours, digits):
    """Title, bars and axis of one scenario, and the bottom edge. Each scenario has its own scale, since figures differ by a
    factor of a hundred."""
    titles = textwrap.wrap(title, (LABELS - 2 * MARGIN) // LETTER)
    out = [_text(MARGIN, top + BAR - 5 + number * LETTERING, line) for number, line in enumerate(titles)]
    longest = max(max(values) for _, values in bars) or 1
    axis, below = top, top + len(titles) * LETTERING
    for peer, values in bars:
        out += _bar(top, colours[peer], values, BARS / longest, digits)
        top += BAR + GAP
    out.append(_line(LABELS, LABELS, axis - GAP, top))
    return out, max(top - GAP, below)


def _bar(top, colour, values, scale, digits):
    median = statistics.median(values)
    length, low, high = (max(value * scale, 1) for value in (median, min(values), max(values)))
    out = [f'<rect x="{LABELS}" y="{top:.1f}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>']
    if high - low >= 1:
        middle = top + BAR / 2
        out.append(_line(LABELS + low, LABELS + high, middle, middle))
        out += [_line(LABELS + end, LABELS + end, middle - 4, middle + 4) for end in (low, high)]
    return [*out, _text(LABELS + max(length, high) + 6, top + BAR - 5, f"{median:,.{digits}f}")]


def _legend(peers, colours):
    """The names of the brokers with their colours, and the bottom edge."""
    out, left, top = [], MARGIN, HEADING + 12
    for peer in peers:
        text = f"{peer['name']} ({peer['durability']})"
        width = 18 + LETTER * len(text)
        if left > MARGIN and left + width > WIDTH - MARGIN:
            left, top = MARGIN, top + LINE
        out += [f'<rect x="{left}" y="{top}" width="12" height="12" fill="{colours[peer["name"]]}"/>',
                _text(left + 18, top + 11, text)]
        left += width + 16
    return out, top + LINE


def _note(groups):
    runs = max(len(values) for _, bars in groups for _, values in bars)
    several = "Medians; the thin line leads from the lowest to the highest run." if runs > 1 else "One run."
    return several + (" Each group has a scale of its own." if len(groups) > 1 else "")


def _colours(peers):
    """A colour for each broker, the same in all charts of a run."""
    others = [peer["name"] for peer in peers if peer["name"] not in OURS]
    return OURS | {name: OTHERS[number % len(OTHERS)] for number, name in enumerate(others)}


def _line(x1, x2, y1, y2):
    return (f'<line class="line" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" stroke="#1f2328" '
            'stroke-opacity="0.7"/>')


def _text(x, y, text, kind="ink", size=None, bold=False):
    colour = {"ink": "#1f2328", "faint": "#59636e"}[kind]
    more = (f' font-size="{size}"' if size else "") + (' font-weight="bold"' if bold else "")
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}" fill="{colour}"{more}>{escape(text)}</text>'

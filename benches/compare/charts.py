# Bar charts as SVG, written by hand: one panel per scenario, one bar per broker, with the number and the spread. Pure
# but for `write_all`.

from xml.sax.saxutils import escape

from cells import Cell

# Sizes in pixels.
WIDTH, LABELS, BAR, GAP, PANEL, TOP = 860, 190, 20, 4, 14, 64
BARS = WIDTH - LABELS - 170
COLOURS = ("#2f7d5b", "#e07b39", "#5b7db1", "#a35d8f", "#8a8a8a")
# The file of each chart, its heading, its tables, what is shown, and the digits after the point.
CHARTS = (
    ("throughput.svg", "Messages per second: longer is better", ("rate",), ("rate",), 0),
    ("sizes.svg", "Messages per second by size of body: longer is better", ("size",), ("rate",), 0),
    ("routing.svg", "Messages received per second: longer is better", ("routing",), ("rate",), 0),
    ("cpu.svg", "CPU seconds of the broker per million messages: shorter is better", ("rate", "size", "routing"),
     ("broker", "cpu_seconds_per_million"), 2),
    ("latency.svg", "End-to-end latency, 99th percentile in ms: shorter is better", ("latency",),
     ("latency_ms", "p99"), 2),
    ("queues.svg", "Queues declared per second: longer is better", ("queues",), ("/", "queues", "declared_per_second"),
     0),
    ("connections.svg", "Memory per idle connection in KB: shorter is better", ("connections",),
     ("/", "connections", "kilobytes_each"), 1),
)


def write_all(document, folder):
    """Writes every chart that there are numbers for."""
    for name, heading, kinds, path, digits in CHARTS:
        drawn = chart(document, heading, kinds, path, digits)
        if drawn:
            (folder / name).write_text(drawn)


def chart(document, heading, kinds, path, digits):
    """One chart; `None` if there is nothing to show."""
    panels = []
    for row in document["scenarios"]:
        if row["table"] in kinds:
            bars = [(number, Cell(document, row["name"], peer["name"]).values(*path))
                    for number, peer in enumerate(document["peers"])]
            bars = [(number, sorted(values)) for number, values in bars if values]
            if bars:
                panels.append((row["title"], bars))
    if not panels:
        return None
    height = TOP + sum(len(bars) * (BAR + GAP) + PANEL for _, bars in panels) + PANEL
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
           f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>', _text(12, 22, heading, size=16)]
    out += _legend(document["peers"])
    top = TOP
    for title, bars in panels:
        out.append(_text(12, top + BAR - 5, title))
        # Each panel has a scale of its own: rows differ by a hundred times.
        longest = max(values[-1] for _, values in bars) or 1
        for number, values in bars:
            out += _bar(top, number, values, longest, digits)
            top += BAR + GAP
        top += PANEL
    return "\n".join([*out, "</svg>", ""])


def _bar(top, number, values, longest, digits):
    median = values[len(values) // 2] if len(values) % 2 else sum(values[len(values) // 2 - 1:][:2]) / 2
    length, low, high = (max(value / longest * BARS, 1) for value in (median, values[0], values[-1]))
    middle = top + BAR / 2
    return [f'<rect x="{LABELS + 40}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{_colour(number)}"/>',
            f'<line x1="{LABELS + 40 + low:.1f}" x2="{LABELS + 40 + high:.1f}" y1="{middle}" y2="{middle}" '
            'stroke="#000000" stroke-opacity="0.6"/>',
            _text(LABELS + 46 + max(length, high), top + BAR - 5, f"{median:,.{digits}f}")]


def _legend(peers):
    out, left = [], 12
    for number, peer in enumerate(peers):
        text = f"{peer['name']} ({peer['durability']})"
        out += [f'<rect x="{left}" y="34" width="12" height="12" fill="{_colour(number)}"/>',
                _text(left + 18, 45, text)]
        left += 34 + 7 * len(text)
    return out


def _colour(number):
    return COLOURS[number % len(COLOURS)]


def _text(x, y, text, size=None):
    larger = f' font-size="{size}" font-weight="bold"' if size else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{larger}>{escape(text)}</text>'

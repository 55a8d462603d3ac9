# The results of one scenario with one broker: medians, spreads, ratios. Pure. tables.py and charts.py show them.

import statistics

# Runs count as stalled if the highest figure is more than this many times the lowest.
STALL = 10
STALLED = "it stalled"


class Cell:
    """One scenario with one broker; `load` is the index of a load (a backlog is filled, then drained)."""

    def __init__(self, document, scenario, peer, load=-1):
        self.runs = [result for result in document["results"]
                     if (result["scenario"], result["peer"]) == (scenario, peer) and "error" not in result]
        self._load = load

    def values(self, *path):
        """One number of every run. The path leads from the load, or from the run if it begins with `/`."""
        found = []
        for run in self.runs:
            if path[0] == "/":
                value, keys = run, path[1:]
            else:
                value, keys = (run["loads"][self._load] if run.get("loads") else None), path
            for key in keys:
                value = value.get(key) if value else None
            if value is not None:
                found.append(value)
        return found

    def median(self, *path):
        values = self.values(*path)
        return statistics.median(values) if values else None

    def show(self, *path, digits=0):
        value = self.median(*path)
        return "-" if value is None else f"{value:,.{digits}f}"

    def spread(self, *path):
        values = self.values(*path)
        if len(values) < 2:
            return "1 run" if values else "-"
        return f"{min(values):,.0f} to {max(values):,.0f}"

    def limits(self):
        return ", ".join(sorted({run["loads"][self._load]["limit"] for run in self.runs if run.get("loads")})) or "-"


    def has_stalled(self, *path):
        """Whether runs differ too much for a ratio, since the broker stalled in some of them."""
        values = self.values(*path)
        return bool(values) and max(values) > STALL * min(values)


def ratio(cells, number, *path):
    """How many times the first broker's figure is that of the nth."""
    if number == 0:
        return ""
    if cells[number].has_stalled(*path):
        return STALLED
    first, other = cells[0].median(*path), cells[number].median(*path)
    return f"leveret {first / other:.2f} x" if first and other else "-"


def better(cells, number, *path, less=False):
    """How many times better the first broker's figure is than that of the nth; of some figures less is better."""
    if not less and cells[number].has_stalled(*path):
        return STALLED
    first, other = cells[0].median(*path), cells[number].median(*path)
    if not first or not other:
        return "-"
    return f"{other / first if less else first / other:.2f} x"


def share(part, whole):
    """A part in percent."""
    return f"{part / whole * 100:.0f} %" if part and whole else "-"

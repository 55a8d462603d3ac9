# From the document of a run (its JSON) to Markdown. Pure but for `machine` and `commit`.

import datetime
import os
import pathlib
import platform
import statistics
import subprocess

import scenarios
import sets
from cells import Cell, better, ratio, share

CPU = ("broker", "cpu_seconds_per_million")
# Notes on the numbers.
TERMS = ("The brokers in turn, all on this machine together with the load generator. 1 KB bodies that do not compress, "
         "persistent messages, durable classic queues, publisher confirms with a window of 1,000 per producer, manual "
         "acknowledgements (of 100 messages; single ones in measurements of latency), prefetch 500. Bodies of 16 B and 64 KB: "
         "prefetch 100, acknowledgements of 20 messages; of 64 KB: window 100. Each pair has its own queue. A broker whose runs differ more than tenfold stalled in "
         "some, and gets no ratio.")
LIMIT = ("Part of the limit: the ideal log appends the same messages to one preallocated file and syncs once per "
         "confirm window, without a broker. First its rate: how much of it the broker reaches. Then CPU: how much of the "
         "broker's CPU seconds per million the ideal log needs.")


def report(document):
    """The whole Markdown."""
    lines = ["# Leveret compared", "", document["machine"], "", f"Command: `{document['command']}`.", "",
             medians(document) + " " + TERMS, "", LIMIT, "", *durability_table(document), ""]
    for kind, make in MAKERS.items():
        rows = [one for one in document["scenarios"] if one["table"] == kind]
        if rows:
            lines += make(rows, document) + [""]
    failed = [result for result in document["results"] if not result["ok"]]
    if failed:
        lines += ["## Runs that failed", ""]
        lines += [f"- {result['scenario']}, {result['peer']}: {result.get('error') or brief(result)}"
                  for result in failed] + [""]
    return "\n".join(lines)


def medians(document):
    """The number of runs behind each figure."""
    runs = document["runs"]
    once = "; rows that take long once" if document["quick"] and runs > 1 else ""
    return f"Medians of {runs} {'run' if runs == 1 else 'runs'} (lowest to highest){once}."


def commit(repo, binary):
    """The commit of the build, or the binary of the option."""
    if binary:
        return f"binary {_output([str(binary), '--version']) or binary}"
    return "commit " + (_output(["git", "-C", str(repo), "describe", "--always", "--dirty"]) or "unknown")


def machine(build, data):
    """The machine and its software."""
    cpu = next((line.split(":")[1].strip() for line in _read("/proc/cpuinfo").splitlines()
                if line.startswith("model name")), platform.processor())
    memory = int(_read("/proc/meminfo").split()[1]) / 1024 / 1024
    mount = _output(["findmnt", "-no", "FSTYPE,SOURCE", "-T", str(data)]) or "?"
    release = next((line.split("=")[1].strip('"') for line in _read("/etc/os-release").splitlines()
                    if line.startswith("PRETTY_NAME")), platform.system())
    return (f"{datetime.date.today()}; {cpu}, {os.cpu_count()} cores, {memory:.0f} GiB; {release}, "
            f"Linux {platform.release()}; {' on '.join(mount.split())}; load before the runs "
            f"{os.getloadavg()[0]:.1f}; {build}.")


def brief(summary):
    """A run in a few words."""
    if "error" in summary:
        return f"FAILED: {summary['error']}"
    parts = []
    for load in summary["loads"]:
        cpu = f", {load['broker']['cpu_seconds_per_million']:.2f} s/M" if load["broker"] else ""
        parts.append(f"{load['name']} {load['rate']:,.0f}/s{cpu}")
    if summary.get("queues"):
        parts.append(f"{summary['queues']['declared_per_second']:,.0f} declared/s")
    if summary.get("connections"):
        parts.append(f"{summary['connections']['opened_per_second']:,.0f} opened/s")
    due = (summary.get("delayed") or {}).get("due")
    if due:
        late = due["late_ms"]
        parts.append(f"late p99 {late['p99']:.2f} ms, max {late['max']:.2f} ms" if late else "nothing measured")
    if summary.get("returns"):
        one = summary["returns"]
        parts.append(f"back by {one['by']} in {one['seconds']:.0f} s, confirm p99 ms {one['before']['p99']:.1f}, "
                     f"meanwhile {one['during']['p99']:.1f}, after {one['after']['p99']:.1f}")
    if summary.get("waits"):
        parts.append("waited " + ", ".join(f"{one:.2f}" for one in summary["waits"]["seconds"]) + " s")
    if summary.get("restart_seconds"):
        parts.append(f"restart {summary['restart_seconds']:.2f} s")
    return "; ".join(parts) + ("" if summary["ok"] else " NOT OK")


def durability_table(document):
    columns = ("<broker", "<server", "<when a confirm leaves, the message is")
    return _table(columns, ([one["name"], one["server"], one["durability"]] for one in document["peers"]))


def _table(columns, rows):
    """Markdown. Headings of text columns begin with `<`; other columns hold numbers."""
    lines = ["| " + " | ".join(column.removeprefix("<") for column in columns) + " |",
             "|" + "".join("---|" if column.startswith("<") else "--:|" for column in columns)]
    return lines + ["| " + " | ".join(cells) + " |" for cells in rows]


def _section(heading, notes, columns, rows):
    """A heading, notes, and a table."""
    return [f"## {heading}", "", *(line for note in notes for line in (note, "")), *_table(columns, rows)]


def _each(rows, document, load=-1):
    """Row, number of the broker, broker, and the cells of all brokers in that row."""
    for row in rows:
        cells = [Cell(document, row["name"], peer["name"], load) for peer in document["peers"]]
        for number, peer in enumerate(document["peers"]):
            if cells[number].runs:
                yield row, number, peer, cells


def _rate_table(heading):
    def make(rows, document):
        columns = ("<scenario", "<broker", "<confirm means", "messages/s", "spread", "ratio", "MB/s",
                   "broker CPU s per million", "client CPU s per million", "part of the limit: rate / CPU",
                   "CPU % of a core: broker / client / others", "confirm p50 / p99 ms", "peak RSS MB", "<limit")
        return _section(heading, [], columns, (_rate_row(document, *one) for one in _each(rows, document)))
    return make


def _rate_row(document, row, number, peer, cells):
    cell = cells[number]
    shares = [cell.show("broker", "cpu_percent"), cell.show("client", "cpu_percent"), cell.show("others_cpu_percent")]
    confirm = (cell.show("confirm_ms", key, digits=1) for key in ("p50", "p99"))
    return [row["title"], peer["name"], peer["durability"], cell.show("rate"), cell.spread("rate"),
            ratio(cells, number, "rate"), cell.show("megabytes_per_second"), cell.show(*CPU, digits=2),
            cell.show("client", "cpu_seconds_per_million", digits=2), _part_of_limit(row, document, cell),
            " / ".join(shares), " / ".join(confirm), cell.show("broker", "rss_peak_mb"), cell.limits()]


def _part_of_limit(row, document, cell):
    if not row["ideal"]:
        return ""
    ideal = Cell(document, row["ideal"], scenarios.IDEAL)
    return f"{share(cell.median('rate'), ideal.median('rate'))} / {share(ideal.median(*CPU), cell.median(*CPU))}"


def _latency_table(rows, document):
    def line(row, number, peer, cells):
        cell = cells[number]
        return [row["title"], peer["name"], peer["durability"],
                *(cell.show("latency_ms", key, digits=2) for key in ("p50", "p95", "p99", "p999", "max")),
                *(cell.show("confirm_ms", key, digits=2) for key in ("p50", "p99")),
                cell.show("broker", "cpu_percent"), cell.show("rate")]
    columns = ("<rate", "<broker", "<confirm means", "p50", "p95", "p99", "p99.9", "max", "confirm p50", "confirm p99",
               "broker CPU %", "got/s")
    return _section("End-to-end latency at a fixed rate, from when a message was due, in ms", [], columns,
                    (line(*one) for one in _each(rows, document)))


def _lone_table(rows, document):
    def line(row, number, peer, cells):
        ideal = Cell(document, row["ideal"], scenarios.IDEAL).median("confirm_ms", "p50")
        mine = cells[number].median("confirm_ms", "p50")
        more = [f"{mine - ideal:.2f}", f"{mine / ideal:.2f}"] if mine and ideal else ["-", "-"]
        return [peer["name"], peer["durability"], *(cells[number].show("confirm_ms", key, digits=2) for key in ("p50", "p99")),
                *more, cells[number].show("rate")]
    columns = ("<broker", "<confirm means", "p50", "p99", "p50 less the disk's own", "times the disk's own", "messages/s")
    return _section("A lone publisher that waits for each confirm, in ms",
                    ["The disk's own: one record written and synced with fdatasync, without a broker."], columns,
                    (line(*one) for one in _each(rows, document)))


def _backlog_table(rows, document):
    def line(row, number, peer, drains):
        fill, drain = Cell(document, row["name"], peer["name"], 0), drains[number]
        return [row["title"], peer["name"], fill.show("rate"),
                f"{fill.show('first_tenth_rate')} / {fill.show('last_tenth_rate')}",
                drain.show("/", "restart_seconds", digits=2), drain.show("rate"), ratio(drains, number, "rate"),
                drain.show("last_tenth_rate"), fill.show("broker", "rss_peak_mb"), drain.show("broker", "rss_peak_mb"),
                _both_cpu(fill, drain)]
    columns = ("<scenario", "<broker", "fill/s", "fill, first / last tenth", "restart s", "drain/s", "ratio of the drain",
               "drain, last tenth", "RSS MB, filling", "RSS MB, draining", "CPU s per million, fill / drain")
    return _section("Backlog", [], columns, (line(*one) for one in _each(rows, document)))


def _both_cpu(*cells):
    return " / ".join(cell.show(*CPU, digits=2) for cell in cells)


def _queues_table(rows, document):
    def line(row, number, peer, cells):
        def shown(key, digits=0):
            return cells[number].show("/", "queues", key, digits=digits)
        return [row["title"], peer["name"], shown("declared_per_second"),
                ratio(cells, number, "/", "queues", "declared_per_second"), shown("deleted_per_second"),
                shown("rss_before_mb"), shown("rss_declared_mb"), shown("idle_cpu_percent", 1),
                shown("restart_seconds", 2), shown("rss_restarted_mb")]
    columns = ("<scenario", "<broker", "declared/s", "ratio", "deleted/s", "RSS MB before", "RSS MB",
               "idle CPU % of a core", "restart s", "RSS MB after it")
    return _section("Many queues", [], columns, (line(*one) for one in _each(rows, document)))


def _connections_table(rows, document):
    def line(row, number, peer, cells):
        def shown(*path, digits=0):
            return cells[number].show("/", "connections", *path, digits=digits)
        return [row["title"], peer["name"], shown("opened_per_second"),
                ratio(cells, number, "/", "connections", "opened_per_second"),
                " / ".join(shown("open_ms", key, digits=2) for key in ("p50", "p99")),
                " / ".join(shown(f"rss_{when}_mb") for when in ("before", "open", "after")),
                shown("kilobytes_each", digits=1), shown("broker_cpu_percent", digits=1)]
    columns = ("<scenario", "<broker", "opened/s", "ratio", "open p50 / p99 ms", "RSS MB before / open / after", "KB each",
               "broker CPU % of a core")
    return _section("Connections, each with one channel", [], columns, (line(*one) for one in _each(rows, document)))


def _rewind_table(rows, document):
    def line(row, number, peer, agains):
        before, again = Cell(document, row["name"], peer["name"], 1), agains[number]
        took = [value * 1000 for value in again.values("/", "rewind_seconds")]
        return [row["title"], f"{min(took):.0f} to {max(took):.0f}" if took else "-", before.show("rate"),
                again.show("rate"), _both_cpu(before, again), again.show("broker", "rss_peak_mb")]
    columns = ("<scenario", "rewind ms", "drain/s before", "drain/s after", "CPU s per million, before / after",
               "RSS MB after")
    return _section("Rewind of a queue that was drained",
                    ["The rewind is `leveret ctl rewind`, with the start of that program."], columns,
                    (line(*one) for one in _each(rows, document)))


def _delayed_table(rows, document):
    def line(row, number, peer, cells):
        def shown(key, digits=0):
            return cells[number].show("/", "delayed", key, digits=digits)
        return [row["title"], Cell(document, row["name"], peer["name"], 0).show("rate"), shown("rss_before_mb"),
                shown("rss_waiting_mb"), shown("restart_seconds", 2), shown("rss_restarted_mb")]
    columns = ("<scenario", "published/s", "RSS MB before", "RSS MB, 30 s later", "restart s", "RSS MB, 30 s after it")
    return _section("Delayed messages", [], columns, (line(*one) for one in _each(rows, document)))


def _due_table(rows, document):
    def line(row, number, peer, cells):
        cell = cells[number]

        def shown(*path, digits=0):
            return cell.show("/", "delayed", *path, digits=digits)
        memory = [shown(f"rss_{when}_mb") for when in ("before", "waiting")] + [shown("due", "rss_peak_mb")]
        return [row["title"], Cell(document, row["name"], peer["name"], 0).show("rate"), shown("restart_seconds", digits=2),
                shown("due", "early"), *(shown("due", "late_ms", key, digits=2) for key in ("p50", "p99", "p999", "max")),
                " / ".join(shown("due", when) for when in ("published_late", "due_unattended")),
                cell.show(*CPU, digits=2), " / ".join(memory)]
    columns = ("<scenario", "published/s", "restart s", "early", "late ms, p50", "p99", "p99.9", "max",
               "too late to be measured: published / consumed", "broker CPU s per million, while they were due",
               "RSS MB before / waiting / at most")
    return _section("How late delayed messages come",
                    ["From when a message was due to when a consumer had it, the way from the publisher to the broker "
                     "included."], columns, (line(*one) for one in _each(rows, document)))


def _stress_table(rows, document):
    def line(row, number, peer, cells):
        alone, beside = Cell(document, row["name"], peer["name"], 0), cells[number]

        def shown(key, digits=0):
            return beside.show("/", "stress", key, digits=digits)
        return [row["title"], peer["name"], shown("done_per_second"),
                " / ".join(cell.show("latency_ms", "p99", digits=2) for cell in (alone, beside)), shown("p99_ratio", 1),
                beside.show("latency_ms", "p999", digits=2),
                " / ".join(shown(f"rss_{when}_mb") for when in ("before", "peak", "after")), shown("settled_seconds", 1)]
    columns = ("<beside", "<broker", "its messages or connections/s", "p99 ms alone / beside", "ratio", "p99.9 ms beside",
               "RSS MB before / peak / after", "settled after s")
    return _section("Beside a misbehaving client",
                    ["A pair at 1,000/s, alone and then beside it. Memory before, at most, and after; settled: within a "
                     "tenth of the memory before."], columns, (line(*one) for one in _each(rows, document)))


def _observed_table(rows, document):
    def line(row, number, peer, cells):
        def shown(*path, digits=0):
            return cells[number].show("/", "observed", *path, digits=digits)
        alone = Cell(document, row["name"], peer["name"], 0)
        return [row["title"], alone.show("rate"), shown("rate_ratio", digits=3), shown("cpu_ratio", digits=3),
                shown("fetches"), shown("megabytes_fetched", digits=1),
                " / ".join(shown("fetch_ms", key, digits=1) for key in ("p50", "p99"))]
    columns = ("<scenario", "published/s alone", "messages/s beside / alone", "CPU per message beside / alone", "fetches", "MB",
               "fetch p50 / p99 ms")
    return _section("Beside observers", ["Publishing alone and beside the observers, by turns; medians of the rounds."], columns,
                    (line(*one) for one in _each(rows, document)))


SET_NOTE = ("Three nodes on this machine, one pair, 1 KB, the client at the leader. CPU and memory are sums of all nodes. Queues are quorum "
            "queues, in RabbitMQ 3.10 classic ones with `ha-mode: all`; leveret alone is the same broker without a set.")


def _times(row, document, number, *path, less=False):
    """How many times better leveret's set is than this broker."""
    peers = [peer["name"] for peer in document["peers"]]
    ours = next((name for name in peers if name == sets.LEVERET), None)
    if ours is None or peers[number] == ours:
        return ""
    return better([Cell(document, row["name"], name) for name in (ours, peers[number])], 1, *path, less=less)


def _set_table(rows, document):
    def line(row, number, peer, cells):
        cell = cells[number]
        return [row["title"], peer["name"], peer["durability"], cell.show("rate"), cell.spread("rate"),
                _times(row, document, number, "rate"), cell.show(*CPU, digits=2),
                _times(row, document, number, *CPU, less=True),
                " / ".join(cell.show("confirm_ms", key, digits=1) for key in ("p50", "p99")), cell.show("broker", "rss_peak_mb")]
    columns = ("<scenario", "<broker", "<confirm means", "messages/s", "spread", "the set is better by", "CPU s per million",
               "the set is better by", "confirm p50 / p99 ms", "peak RSS MB")
    return _section("Three nodes: throughput", [SET_NOTE], columns, (line(*one) for one in _each(rows, document)))


def _set_latency_table(rows, document):
    def line(row, number, peer, cells):
        cell = cells[number]
        return [row["title"], peer["name"], *(cell.show("confirm_ms", key, digits=2) for key in ("p50", "p99")),
                _times(row, document, number, "confirm_ms", "p99", less=True),
                *(cell.show("latency_ms", key, digits=2) for key in ("p50", "p99")), cell.show("broker", "cpu_percent")]
    columns = ("<rate", "<broker", "confirm p50 ms", "p99", "the set is better by", "end to end p50 ms", "p99", "CPU %, all nodes")
    return _section("Three nodes: confirms at a fixed rate", [], columns, (line(*one) for one in _each(rows, document)))


def _set_queues_table(rows, document):
    def line(row, number, peer, cells):
        def shown(key, digits=0):
            return cells[number].show("/", "queues", key, digits=digits)
        return [row["title"], peer["name"], shown("declared_per_second"), shown("deleted_per_second"), shown("rss_before_mb"),
                shown("rss_declared_mb"), shown("idle_cpu_percent", 2)]
    columns = ("<scenario", "<broker", "declared/s", "deleted/s", "RSS MB before, all nodes", "RSS MB, all nodes",
               "idle CPU % of a core, all nodes")
    return _section("Three nodes: many idle queues", [], columns, (line(*one) for one in _each(rows, document)))


def _set_waits_table(rows, document):
    def line(row, number, peer, cells):
        runs = [value for run in cells[number].runs for value in run["waits"]["seconds"]]
        figures = [f"{value:.2f}" for value in (statistics.median(runs), min(runs), max(runs))] if runs else ["-"] * 3
        return [row["title"], peer["name"], *figures, str(len(runs))]
    columns = ("<what", "<broker", "median s", "least", "most", "times")
    note = ("A publisher that waits for each confirm and connects again to any node. After a kill: from the kill to the first confirm. "
            "In a handover: the longest time between two confirms. Default timeouts.")
    return _section("Three nodes: changes of the leader", [note], columns, (line(*one) for one in _each(rows, document)))


def _set_returns_table(rows, document):
    def line(row, number, peer, cells):
        runs = [run["returns"] for run in cells[number].runs]
        if not runs:
            return [row["title"], *["-"] * 6]
        middle = sorted(runs, key=lambda run: run["during"]["p99"])[len(runs) // 2]
        times = [f"{middle[when]['p50']:.1f} / {middle[when]['p99']:.1f}" for when in ("before", "during", "after")]
        return [row["title"], middle["by"], f"{middle['seconds']:.0f}", f"{middle['mb_per_second']:.0f}", *times]
    columns = ("<what", "<gets it by", "after s", "MB/s", "confirm p50 / p99 ms before", "meanwhile", "after")
    note = ("A follower is killed, messages are published that stay, and it starts again while 5,000/s are offered at the leader. "
            "Meanwhile: the worst 3 s. All nodes share this machine's processors and disk.")
    return _section("Three nodes: a node comes back", [note], columns, (line(*one) for one in _each(rows, document)))


def _ideal_table(rows, document):
    def line(row):
        cell = Cell(document, row["name"], scenarios.IDEAL)
        return [row["title"], cell.show("rate"), cell.spread("rate"), cell.show("megabytes_per_second"),
                cell.show(*CPU, digits=2), " / ".join(cell.show("confirm_ms", key, digits=2) for key in ("p50", "p99"))]
    columns = ("<records", "records/s", "spread", "MB/s", "CPU s per million", "write and sync of a window, p50 / p99 ms")
    return _section("The ideal log", [], columns, map(line, rows))


MAKERS = {"rate": _rate_table("Throughput"), "size": _rate_table("Sizes of bodies, one pair"),
          "tls": _rate_table("Through TLS, one pair"),
          "routing": _rate_table("Routing and many queues"), "latency": _latency_table, "lone": _lone_table,
          "backlog": _backlog_table, "queues": _queues_table, "connections": _connections_table,
          "ours": _rate_table("Features of leveret only"), "rewind": _rewind_table,
          "delayed": _delayed_table, "due": _due_table, "stress": _stress_table,
          "observed": _observed_table, "set": _set_table, "set-latency": _set_latency_table,
          "set-queues": _set_queues_table, "set-waits": _set_waits_table, "set-returns": _set_returns_table, "ideal": _ideal_table}


def _read(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def _output(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""

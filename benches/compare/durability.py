# What a confirm of a persistent message in a durable queue means, per broker. It is not measured by the runner: it was
# found out once, by counting the calls that make a file safe while `leveret-bench produce` ran for 4 s
# (`strace -f -c -e trace=fsync,fdatasync,sync_file_range -p PID`), and read in the brokers' documentation.
#
#   RabbitMQ 4.0.5, classic queue         2 fsync: confirms do not wait for the disk
#   RabbitMQ 3.10.8, classic queue      131 fsync: one before each batch of confirms
#   RabbitMQ 4.0.5 and 3.10.8, quorum   about 1,450 fdatasync
#   LavinMQ 2.1.0                         2 fsync
#
# leveret syncs before each batch of confirms; its own tests cut the power at every sync and look for what was
# confirmed (tests/crash). To see it: the same strace.

import re

# What a leveret is called that was started with a weaker point.
WEAKER = "leveret-durability-write"


def of(name, server, arguments=""):
    """Whether the disk has it when the confirm leaves: a word for the table."""
    text = f"{name} {server}".lower()
    version = re.search(r"rabbitmq (\d+)\.", text)
    if name == WEAKER:
        return "written, synced within 100 ms"
    if "leveret" in text:
        return "synced"
    if version and "quorum" in arguments:
        return "synced"
    if version:
        return "synced" if int(version.group(1)) < 4 else "written, not synced"
    if "lavinmq" in text:
        return "written, not synced"
    return "not known"

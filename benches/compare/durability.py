# The meaning of a confirm of a persistent message in a durable queue, per broker. The runner does not measure it. It
# comes from the brokers' documentation, and from the sync calls during 4 s of `leveret-bench produce`
# (`strace -f -c -e trace=fsync,fdatasync,sync_file_range -p PID`):
#
#   RabbitMQ 4.0.5, classic queue         2 fsync: confirms do not wait for the disk
#   RabbitMQ 3.10.8, classic queue      131 fsync: one before each batch of confirms
#   RabbitMQ 4.0.5 and 3.10.8, quorum   about 1,450 fdatasync
#   LavinMQ 2.1.0                         2 fsync
#
# leveret syncs before each batch of confirms. Its tests cut the power at every sync and check all confirmed messages
# (tests/crash).

import re

# The name of a leveret with `--durability write`.
WEAKER = "leveret-durability-write"


def of(name, server, arguments=""):
    """The state of a message when its confirm leaves, in the words of the table."""
    text = f"{name} {server}".lower()
    version = re.search(r"rabbitmq (\d+)\.", text)
    if "3 nodes" in text:
        return "synced by all mirrors" if "mirrored" in text else "synced by a majority"
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

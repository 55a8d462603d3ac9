#!/bin/sh
# rabbitmqctl's verbs for the broker that brokers/leveret started on DATA_DIR: leveret.ctl DATA_DIR VERB ...
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
export LEVERET_DATA_DIR="$1"
shift
exec "${LEVERET_BIN:-$root/target/release/leveret}" ctl "$@"

#!/bin/sh
# Runs one of rabbitmqctl's verbs on the broker that brokers/leveret started on DATA_DIR: leveret.ctl DATA_DIR VERB ...
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
program=${LEVERET_BIN:-$root/target/release/leveret}
unset LEVERET_BIN
export LEVERET_DATA_DIR="$1"
shift
exec "$program" ctl "$@"

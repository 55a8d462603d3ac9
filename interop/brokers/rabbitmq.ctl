#!/bin/sh
# Runs rabbitmqctl for the node that brokers/rabbitmq started on DATA_DIR: rabbitmq.ctl DATA_DIR VERB ...
set -eu
port=$(sed -n 's/^listeners.tcp.default = .*://p' "$1/rabbitmq.conf")
export HOME="$1" RABBITMQ_CONF_ENV_FILE=/dev/null
shift
exec "${RABBITMQ_SERVER_CTL:-/usr/lib/rabbitmq/bin/rabbitmqctl}" -n "interop$port@localhost" "$@"

# syntax=docker/dockerfile:1
# Leveret in a small image: one stage builds it, another runs it as an ordinary user.

FROM rust:1.95-slim-trixie AS build
# The allocator builds with make.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
# The caches keep what cargo has downloaded and built for the next build.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin leveret \
    && cp target/release/leveret /usr/local/bin/leveret

FROM debian:trixie-slim
# Certificates of the servers that the broker asks: identity providers, HTTP endpoints, other brokers.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 5672 leveret \
    && useradd --system --uid 5672 --gid leveret --home-dir /var/lib/leveret --no-create-home leveret \
    && install --directory --owner=leveret --group=leveret --mode=0700 /var/lib/leveret
COPY --from=build /usr/local/bin/leveret /usr/local/bin/leveret
COPY packaging/image/10-defaults.conf /etc/rabbitmq/conf.d/10-defaults.conf
USER 5672:5672
WORKDIR /var/lib/leveret
# The variables of RabbitMQ's image count (RABBITMQ_DEFAULT_USER, ...), and its files in /etc/rabbitmq. Variables of
# Leveret, such as LEVERET_DEFAULT_USER, take precedence over both.
ENV LEVERET_RABBITMQ_VARIABLES=true \
    LEVERET_DATA_DIR=/var/lib/leveret \
    LEVERET_CMQ_LISTEN=0.0.0.0:5680
VOLUME /var/lib/leveret
# AMQP, AMQP over TLS, CMQ, the management API, the same over TLS, metrics, the same over TLS
EXPOSE 5672 5671 5680 15672 15671 15692 15691
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=3 CMD ["leveret", "ctl", "-q", "ping"]
ENTRYPOINT ["leveret"]

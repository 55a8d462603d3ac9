# Leveret in a small image: one stage builds it, another runs it as an ordinary user.

FROM rust:1.95-slim-trixie AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches/micro benches/micro
COPY benches/load benches/load
RUN cargo build --release --locked --bin leveret

FROM debian:trixie-slim
RUN useradd --system --uid 5672 --home-dir /var/lib/leveret --create-home leveret \
    && chmod 0700 /var/lib/leveret
COPY --from=build /src/target/release/leveret /usr/local/bin/leveret
USER leveret
# `guest` may log in from loopback only, which clients outside the container cannot use. Add a user:
#   leveret ctl add_user NAME PASSWORD && leveret ctl set_permissions NAME '.*' '.*' '.*'
ENV LEVERET_DATA_DIR=/var/lib/leveret
# CMQ's HTTP API listens on loopback by default, which clients outside the container cannot reach.
ENV LEVERET_CMQ_LISTEN=0.0.0.0:5680
ENV LEVERET_MANAGEMENT_LISTEN=0.0.0.0:15672
ENV LEVERET_PROMETHEUS_LISTEN=0.0.0.0:15692
VOLUME /var/lib/leveret
EXPOSE 5672 5680 15672 15692
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["leveret", "ctl", "-q", "ping"]
ENTRYPOINT ["leveret"]

//! Listeners, and what they speak.

use std::net::SocketAddr;

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Amqp,
    /// CMQ's HTTP API.
    Cmq,
    /// The management HTTP API.
    Management,
    /// Metrics for Prometheus.
    Prometheus,
}

impl Protocol {
    /// RabbitMQ's name, where it has the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Amqp => "amqp",
            Protocol::Cmq => "cmq",
            Protocol::Management => "http",
            Protocol::Prometheus => "http/prometheus",
        }
    }

    pub fn purpose(self) -> &'static str {
        match self {
            Protocol::Amqp => "AMQP 0-9-1",
            Protocol::Cmq => "CMQ HTTP API 2.0",
            Protocol::Management => "HTTP API",
            Protocol::Prometheus => "Prometheus exporter API over HTTP",
        }
    }
}

/// An address that clients can connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerView {
    pub protocol: Protocol,
    pub address: SocketAddr,
}

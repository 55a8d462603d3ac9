//! Listeners, and what they speak.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Amqp,
    /// CMQ's HTTP API.
    Cmq,
    /// The management HTTP API.
    Management,
    /// Metrics for Prometheus.
    Prometheus,
}

/// How the bytes of a listener's connections travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    Plain,
    Tls,
}

impl Protocol {
    fn purpose(self) -> &'static str {
        match self {
            Protocol::Amqp => "AMQP 0-9-1",
            Protocol::Cmq => "CMQ HTTP API 2.0",
            Protocol::Management => "HTTP API",
            Protocol::Prometheus => "Prometheus exporter API over HTTP",
        }
    }
}

/// An address that clients can connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerView {
    pub protocol: Protocol,
    pub security: Security,
    pub address: SocketAddr,
}

impl ListenerView {
    /// RabbitMQ's name of protocol and security, where it has the protocol.
    pub fn protocol_name(&self) -> &'static str {
        match (self.protocol, self.security) {
            (Protocol::Amqp, Security::Plain) => "amqp",
            (Protocol::Amqp, Security::Tls) => "amqp/ssl",
            (Protocol::Cmq, Security::Plain) => "cmq",
            (Protocol::Cmq, Security::Tls) => "cmq/ssl",
            (Protocol::Management, Security::Plain) => "http",
            (Protocol::Management, Security::Tls) => "https",
            (Protocol::Prometheus, Security::Plain) => "http/prometheus",
            (Protocol::Prometheus, Security::Tls) => "https/prometheus",
        }
    }

    /// What the listener is for, in words.
    pub fn purpose(&self) -> String {
        match self.security {
            Security::Plain => self.protocol.purpose().to_owned(),
            Security::Tls => format!("{} over TLS", self.protocol.purpose()),
        }
    }
}

//! The RabbitMQ release that clients may take this broker for.

/// Its behaviour clients may expect. They parse it out of the server properties and the management API.
pub const COMPATIBLE_VERSION: &str = "4.2.0";

//! A client that speaks raw AMQP: it sends what it is told, also what no client library would, and hides nothing.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use leveret::wire::protocol::{basic, channel, confirm, connection, queue};
use leveret::wire::{
    AMQPClass, AMQPProperties, AMQPValue, FRAME_END, FieldTable, FrameKind, decode_header,
    decode_method, encode_method, encode_properties, put_content_header, put_frame_header, split,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PATIENCE, TestServer};

/// What a client says in its handshake.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) capabilities: bool,
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    pub(crate) heartbeat: u16,
}

impl Default for Client {
    fn default() -> Client {
        Client {
            capabilities: true,
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 0,
        }
    }
}

/// What comes from the broker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Method(u16, AMQPClass),
    Header(u16, u64, Bytes),
    Body(u16, Bytes),
    Heartbeat,
    End,
}

/// A content and the method that brought it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Content {
    pub(crate) method: AMQPClass,
    pub(crate) properties: Bytes,
    pub(crate) body: Vec<u8>,
}

impl Content {
    /// The delivery tag, whether it was redelivered, and the body as text.
    pub(crate) fn told(&self) -> (u64, bool, String) {
        let body = String::from_utf8(self.body.clone()).unwrap();
        match &self.method {
            AMQPClass::Basic(basic::AMQPMethod::Deliver(m)) => {
                (m.delivery_tag, m.redelivered, body)
            }
            AMQPClass::Basic(basic::AMQPMethod::GetOk(m)) => (m.delivery_tag, m.redelivered, body),
            other => panic!("no delivery: {other:?}"),
        }
    }
}

/// One connection.
pub(crate) struct Peer {
    stream: TcpStream,
    input: BytesMut,
    client: Client,
}

impl Peer {
    /// Connects and opens channel 1.
    pub(crate) async fn new(server: &TestServer) -> Peer {
        let mut peer = Peer::connect(server.address, Client::default()).await;
        peer.open(1).await;
        peer
    }

    /// Connects, to an open connection without channels.
    pub(crate) async fn connect(address: SocketAddr, client: Client) -> Peer {
        let mut peer = Peer::log_in(address, client, "guest", "guest").await;
        peer.method().await;
        let opened = peer.enter("/").await;
        assert!(
            matches!(
                opened,
                AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))
            ),
            "{opened:?}"
        );
        peer
    }

    /// Whether a connection is opened.
    pub(crate) async fn is_let_in(address: SocketAddr) -> bool {
        let mut peer = Peer::asking(address, Client::default()).await;
        let opened = peer.method().await.1;
        matches!(
            opened,
            AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))
        )
    }

    /// Connects as far as `connection.open`, whose answer is still to be read.
    pub(crate) async fn asking(address: SocketAddr, client: Client) -> Peer {
        let mut peer = Peer::log_in(address, client, "guest", "guest").await;
        peer.method().await;
        peer.ask("/").await;
        peer
    }

    /// Connects and says who it is. The next that comes says whether it may log in.
    pub(crate) async fn log_in(
        address: SocketAddr,
        client: Client,
        user: &str,
        password: &str,
    ) -> Peer {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut peer = Peer {
            stream,
            input: BytesMut::new(),
            client: client.clone(),
        };
        peer.raw(b"AMQP\0\0\x09\x01").await;
        peer.method().await;
        let mut capabilities = FieldTable::default();
        for capability in [
            "connection.blocked",
            "consumer_cancel_notify",
            "authentication_failure_close",
            "basic.nack",
        ] {
            capabilities.insert(capability.into(), AMQPValue::Boolean(client.capabilities));
        }
        let mut client_properties = FieldTable::default();
        client_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
        let start_ok = connection::StartOk {
            client_properties,
            mechanism: "PLAIN".into(),
            response: format!("\0{user}\0{password}").into(),
            locale: "en_US".into(),
        };
        peer.send(
            0,
            AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)),
        )
        .await;
        peer
    }

    /// Takes the terms and opens a virtual host, for which it gives the answer.
    pub(crate) async fn enter(&mut self, vhost: &str) -> AMQPClass {
        self.ask(vhost).await;
        self.method().await.1
    }

    async fn ask(&mut self, vhost: &str) {
        let tune_ok = connection::TuneOk {
            channel_max: self.client.channel_max,
            frame_max: self.client.frame_max,
            heartbeat: self.client.heartbeat,
        };
        self.send(
            0,
            AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok)),
        )
        .await;
        let open = connection::Open {
            virtual_host: vhost.into(),
        };
        self.send(0, AMQPClass::Connection(connection::AMQPMethod::Open(open)))
            .await;
    }

    /// How the broker ends the connection, whatever it sends before: in good order, or with an error.
    pub(crate) async fn ended(&mut self) -> std::io::Result<()> {
        let ended = async {
            loop {
                match self.stream.read_buf(&mut self.input).await {
                    Ok(0) => return Ok(()),
                    Ok(_) => self.input.clear(),
                    Err(error) => return Err(error),
                }
            }
        };
        timeout(PATIENCE, ended)
            .await
            .expect("the broker keeps the connection")
    }

    /// Sends no more.
    pub(crate) async fn stop_sending(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    pub(crate) async fn open(&mut self, number: u16) {
        let open = AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}));
        let opened = self.call(number, open).await;
        assert!(
            matches!(opened, AMQPClass::Channel(channel::AMQPMethod::OpenOk(_))),
            "{opened:?}"
        );
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Writes what the broker may refuse to take; whether it went out.
    pub(crate) async fn try_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    pub(crate) async fn frame(&mut self, kind: FrameKind, number: u16, payload: &[u8]) {
        let mut out = BytesMut::new();
        put_frame_header(&mut out, kind, number, payload.len());
        out.extend_from_slice(payload);
        out.extend_from_slice(&[FRAME_END]);
        self.raw(&out).await;
    }

    pub(crate) async fn send(&mut self, number: u16, method: AMQPClass) {
        let mut out = BytesMut::new();
        encode_method(&mut out, number, &method);
        self.raw(&out).await;
    }

    pub(crate) async fn basic(&mut self, number: u16, method: basic::AMQPMethod) {
        self.send(number, AMQPClass::Basic(method)).await;
    }

    /// Sends a method and gives the next one that comes.
    pub(crate) async fn call(&mut self, number: u16, method: AMQPClass) -> AMQPClass {
        self.send(number, method).await;
        let (on, answer) = self.method().await;
        assert_eq!(on, number, "{answer:?}");
        answer
    }

    /// The next frame. Panics if none comes.
    pub(crate) async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.read())
            .await
            .expect("the broker says nothing")
    }

    async fn read(&mut self) -> Event {
        loop {
            if let Some(frame) = split(&mut self.input, self.client.frame_max).unwrap() {
                return match frame.kind {
                    FrameKind::Method => {
                        Event::Method(frame.channel, decode_method(&frame.payload).unwrap())
                    }
                    FrameKind::Header => {
                        let header = decode_header(frame.payload).unwrap();
                        Event::Header(frame.channel, header.body_size, header.properties)
                    }
                    FrameKind::Body => Event::Body(frame.channel, frame.payload),
                    FrameKind::Heartbeat => Event::Heartbeat,
                };
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return Event::End,
                Ok(_) => {}
            }
        }
    }

    /// The next frame, which has to be a method.
    pub(crate) async fn method(&mut self) -> (u16, AMQPClass) {
        match self.next().await {
            Event::Method(number, method) => (number, method),
            other => panic!("no method: {other:?}"),
        }
    }

    /// Nothing comes, as a round trip shows.
    pub(crate) async fn nothing(&mut self, number: u16) {
        let flow = AMQPClass::Channel(channel::AMQPMethod::Flow(channel::Flow { active: true }));
        let answer = self.call(number, flow).await;
        assert!(
            matches!(answer, AMQPClass::Channel(channel::AMQPMethod::FlowOk(_))),
            "{answer:?}"
        );
    }

    /// The next content.
    pub(crate) async fn content(&mut self) -> Content {
        let (_, method) = self.method().await;
        self.content_of(method).await
    }

    /// The close of a channel or of the connection that comes next: code and text. A close of the connection is
    /// answered, and its end waited for.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        match self.method().await {
            (number, AMQPClass::Channel(channel::AMQPMethod::Close(close))) => {
                self.send(
                    number,
                    AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})),
                )
                .await;
                (close.reply_code, close.reply_text.to_string())
            }
            (0, AMQPClass::Connection(connection::AMQPMethod::Close(close))) => {
                let ok =
                    AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}));
                self.send(0, ok).await;
                assert_eq!(self.next().await, Event::End);
                (close.reply_code, close.reply_text.to_string())
            }
            other => panic!("no close: {other:?}"),
        }
    }

    pub(crate) async fn declare(&mut self, number: u16, name: &str) -> queue::DeclareOk {
        self.declare_with(number, name, false, &[]).await
    }

    pub(crate) async fn declare_with(
        &mut self,
        number: u16,
        name: &str,
        durable: bool,
        arguments: &[(&str, AMQPValue)],
    ) -> queue::DeclareOk {
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            table.insert((*key).into(), value.clone());
        }
        let declare = queue::Declare {
            queue: name.into(),
            passive: false,
            durable,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: table,
        };
        match self
            .call(
                number,
                AMQPClass::Queue(queue::AMQPMethod::Declare(declare)),
            )
            .await
        {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => ok,
            other => panic!("not declared: {other:?}"),
        }
    }

    pub(crate) async fn confirm_select(&mut self, number: u16) {
        let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
        self.call(number, AMQPClass::Confirm(select)).await;
    }

    /// The bytes of a publish through the default exchange.
    pub(crate) fn publish_bytes(
        &self,
        number: u16,
        key: &str,
        persistent: bool,
        mandatory: bool,
        body: &[u8],
    ) -> BytesMut {
        let publish = basic::Publish {
            exchange: "".into(),
            routing_key: key.into(),
            mandatory,
            immediate: false,
        };
        let mut out = BytesMut::new();
        encode_method(
            &mut out,
            number,
            &AMQPClass::Basic(basic::AMQPMethod::Publish(publish)),
        );
        let mut properties = AMQPProperties::default();
        if persistent {
            properties = properties.with_delivery_mode(2);
        }
        put_content_header(
            &mut out,
            number,
            &encode_properties(&properties),
            body.len() as u64,
        );
        for part in body.chunks(usize::try_from(self.client.frame_max).unwrap() - 8) {
            put_frame_header(&mut out, FrameKind::Body, number, part.len());
            out.extend_from_slice(part);
            out.extend_from_slice(&[FRAME_END]);
        }
        out
    }

    pub(crate) async fn publish(&mut self, number: u16, key: &str, body: &[u8]) {
        let bytes = self.publish_bytes(number, key, true, false, body);
        self.raw(&bytes).await;
    }

    /// Publishes a persistent message with headers.
    pub(crate) async fn publish_to(
        &mut self,
        number: u16,
        exchange: &str,
        key: &str,
        headers: &[(&str, AMQPValue)],
        body: &str,
    ) {
        let publish = basic::Publish {
            exchange: exchange.into(),
            routing_key: key.into(),
            mandatory: false,
            immediate: false,
        };
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.clone());
        }
        let properties = AMQPProperties::default()
            .with_delivery_mode(2)
            .with_headers(table);
        let mut out = BytesMut::new();
        let method = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
        encode_method(&mut out, number, &method);
        let properties = encode_properties(&properties);
        put_content_header(&mut out, number, &properties, body.len() as u64);
        put_frame_header(&mut out, FrameKind::Body, number, body.len());
        out.extend_from_slice(body.as_bytes());
        out.extend_from_slice(&[FRAME_END]);
        self.raw(&out).await;
    }

    /// Binds a queue to an exchange.
    pub(crate) async fn bind(&mut self, number: u16, queue: &str, exchange: &str, key: &str) {
        let bind = queue::Bind {
            queue: queue.into(),
            exchange: exchange.into(),
            routing_key: key.into(),
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.call(number, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)))
            .await;
    }

    pub(crate) async fn qos(&mut self, number: u16, prefetch_count: u16, global: bool) {
        let qos = basic::AMQPMethod::Qos(basic::Qos {
            prefetch_count,
            global,
        });
        self.call(number, AMQPClass::Basic(qos)).await;
    }

    pub(crate) async fn consume(&mut self, number: u16, queue: &str, tag: &str, no_ack: bool) {
        self.consume_with(number, queue, tag, no_ack, &[]).await;
    }

    pub(crate) async fn consume_with(
        &mut self,
        number: u16,
        queue: &str,
        tag: &str,
        no_ack: bool,
        arguments: &[(&str, AMQPValue)],
    ) {
        let answer = self
            .ask_to_consume(number, queue, tag, no_ack, arguments)
            .await;
        assert!(
            matches!(answer, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(_))),
            "{answer:?}"
        );
    }

    /// What the broker says to a basic.consume.
    pub(crate) async fn ask_to_consume(
        &mut self,
        number: u16,
        queue: &str,
        tag: &str,
        no_ack: bool,
        arguments: &[(&str, AMQPValue)],
    ) -> AMQPClass {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        let consume = basic::Consume {
            queue: queue.into(),
            consumer_tag: tag.into(),
            no_local: false,
            no_ack,
            exclusive: false,
            nowait: false,
            arguments: table,
        };
        let consume = AMQPClass::Basic(basic::AMQPMethod::Consume(consume));
        self.call(number, consume).await
    }

    pub(crate) async fn ack(&mut self, number: u16, delivery_tag: u64, multiple: bool) {
        self.basic(
            number,
            basic::AMQPMethod::Ack(basic::Ack {
                delivery_tag,
                multiple,
            }),
        )
        .await;
    }

    pub(crate) async fn nack(
        &mut self,
        number: u16,
        delivery_tag: u64,
        multiple: bool,
        requeue: bool,
    ) {
        self.basic(
            number,
            basic::AMQPMethod::Nack(basic::Nack {
                delivery_tag,
                multiple,
                requeue,
            }),
        )
        .await;
    }

    /// `basic.get`; `None` if the queue is empty.
    pub(crate) async fn get(&mut self, number: u16, queue: &str, no_ack: bool) -> Option<Content> {
        self.basic(
            number,
            basic::AMQPMethod::Get(basic::Get {
                queue: queue.into(),
                no_ack,
            }),
        )
        .await;
        let (on, method) = self.method().await;
        assert_eq!(on, number);
        if matches!(method, AMQPClass::Basic(basic::AMQPMethod::GetEmpty(_))) {
            return None;
        }
        Some(self.content_of(method).await)
    }

    async fn content_of(&mut self, method: AMQPClass) -> Content {
        let (size, properties) = match self.next().await {
            Event::Header(_, size, properties) => (size, properties),
            other => panic!("no header: {other:?}"),
        };
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            match self.next().await {
                Event::Body(_, part) => body.extend_from_slice(&part),
                other => panic!("no body: {other:?}"),
            }
        }
        Content {
            method,
            properties,
            body,
        }
    }
}

//! A client that speaks raw AMQP: it sends any frame that a test asks for, and shows every frame that comes.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use leveret::wire::protocol::{basic, channel, connection};
use leveret::wire::{
    AMQPClass, AMQPValue, FRAME_END, FieldTable, FrameKind, PropertiesView, decode_header,
    decode_method, encode_method, put_frame_header, split,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PATIENCE, TestServer, table};

/// A client's side of the handshake.
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

/// A frame from the broker, or the end of the connection.
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
    /// Delivery tag, `redelivered`, and the body as text.
    pub(crate) fn delivery(&self) -> (u64, bool, String) {
        let (tag, redelivered) = match &self.method {
            AMQPClass::Basic(basic::AMQPMethod::Deliver(m)) => (m.delivery_tag, m.redelivered),
            AMQPClass::Basic(basic::AMQPMethod::GetOk(m)) => (m.delivery_tag, m.redelivered),
            other => panic!("no delivery: {other:?}"),
        };
        (tag, redelivered, self.text())
    }

    pub(crate) fn delivery_tag(&self) -> u64 {
        self.delivery().0
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn headers(&self) -> FieldTable {
        let properties = PropertiesView::parse(&self.properties).unwrap();
        properties.headers().unwrap()
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

    /// Connects and opens the default virtual host; no channel is open yet.
    pub(crate) async fn connect(address: SocketAddr, client: Client) -> Peer {
        let mut peer = Peer::log_in(address, client, "guest", "guest").await;
        peer.method().await;
        let opened = peer.open_vhost("/").await;
        assert!(
            matches!(
                opened,
                AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))
            ),
            "{opened:?}"
        );
        peer
    }

    /// Whether the broker accepts another connection.
    pub(crate) async fn is_accepted(address: SocketAddr) -> bool {
        let mut peer = Peer::connect_to_open(address, Client::default()).await;
        let opened = peer.method().await.1;
        matches!(
            opened,
            AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))
        )
    }

    /// Connects as far as `connection.open`; its answer is still to be read.
    pub(crate) async fn connect_to_open(address: SocketAddr, client: Client) -> Peer {
        let mut peer = Peer::log_in(address, client, "guest", "guest").await;
        peer.method().await;
        peer.send_open("/").await;
        peer
    }

    /// Connects and sends `start-ok`; the next frame shows whether the login succeeded.
    pub(crate) async fn log_in(
        address: SocketAddr,
        client: Client,
        user: &str,
        password: &str,
    ) -> Peer {
        let response = format!("\0{user}\0{password}");
        Peer::log_in_by(address, client, "PLAIN", response.as_bytes())
            .await
            .1
    }

    /// As [`Peer::log_in`] with a mechanism and its response. Returns the offered mechanisms too.
    pub(crate) async fn log_in_by(
        address: SocketAddr,
        client: Client,
        mechanism: &str,
        response: &[u8],
    ) -> (String, Peer) {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut peer = Peer {
            stream,
            input: BytesMut::new(),
            client: client.clone(),
        };
        peer.raw(b"AMQP\0\0\x09\x01").await;
        let AMQPClass::Connection(connection::AMQPMethod::Start(start)) = peer.method().await.1
        else {
            panic!("no connection.start");
        };
        let capabilities = [
            "connection.blocked",
            "consumer_cancel_notify",
            "authentication_failure_close",
            "basic.nack",
        ]
        .map(|name| (name, AMQPValue::Boolean(client.capabilities)));
        let capabilities = AMQPValue::FieldTable(table(&capabilities));
        let start_ok = connection::StartOk {
            client_properties: table(&[("capabilities", capabilities)]),
            mechanism: mechanism.into(),
            response: response.into(),
            locale: "en_US".into(),
        };
        peer.send(
            0,
            AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)),
        )
        .await;
        (start.mechanisms.to_string(), peer)
    }

    /// Sends `tune-ok` and opens a virtual host; returns the answer.
    pub(crate) async fn open_vhost(&mut self, vhost: &str) -> AMQPClass {
        self.send_open(vhost).await;
        self.method().await.1
    }

    pub(crate) async fn send_open(&mut self, vhost: &str) {
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

    /// Reads to the end of the connection: `Ok` if the broker closed its socket in order, an error if it reset it.
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
            .expect("the broker ends the connection in time")
    }

    /// Closes the sending side of the socket.
    pub(crate) async fn stop_sending(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Writes bytes that the broker may refuse to take; returns whether they went out.
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

    /// Sends a method and returns the next one that comes.
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
            .expect("a frame from the broker in time")
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

    /// The next frame, which must be a method.
    pub(crate) async fn method(&mut self) -> (u16, AMQPClass) {
        match self.next().await {
            Event::Method(number, method) => (number, method),
            other => panic!("no method: {other:?}"),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The next content.
    pub(crate) async fn content(&mut self) -> Content {
        let (_, method) = self.method().await;
        self.content_of(method).await
    }

    /// Reads the close of a channel or of the connection, answers it, and returns its code and text. After a close of the
    /// connection the broker must end it.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        match self.method().await {
            (number, AMQPClass::Channel(channel::AMQPMethod::Close(close))) => {
                self.send_channel_close_ok(number).await;
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

    /// The rest of a content, whose method has come.
    pub(crate) async fn content_of(&mut self, method: AMQPClass) -> Content {
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

//! The frames of a connection in both directions, its heartbeats, and the methods of channel 0. Its sockets are polled by
//! hand, so that one task serves two links without a copy or a channel between them.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::error::LinkError;
use super::socket::Socket;
use crate::wire::protocol::connection;
use crate::wire::{
    AMQPClass, FieldTable, Frame, FrameKind, Frames, HEARTBEAT, decode_method, encode_method,
};

/// Bytes offered to one read.
const READ_SIZE: usize = 128 * 1024;
/// A link whose output waits is not given more than this by the pump.
const OUTPUT_HIGH_WATER: usize = 1024 * 1024;

/// Whether a poll may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Reads when all frames of earlier reads are taken.
    Yes,
    /// Leaves input in the socket, which holds the peer back.
    No,
}

/// An open connection.
pub struct Link {
    socket: Socket,
    input: BytesMut,
    frames: Frames,
    pub out: BytesMut,
    /// Bytes handed to the socket in the link's life.
    written: u64,
    pub(super) frame_max: u32,
    pub(super) server_properties: FieldTable,
    heart: Option<Heart>,
    /// The broker has sent `connection.blocked`, and not yet `connection.unblocked`.
    blocked: bool,
}

/// Heartbeats: a tick every half interval.
struct Heart {
    ticks: Interval,
    wrote: bool,
    silent_ticks: u32,
}

/// Ticks without a byte from the peer until it counts as dead: two intervals.
const SILENT_TICKS_MAX: u32 = 4;

impl Link {
    pub(super) fn new(socket: Socket, frame_max: u32) -> Link {
        let mut input = BytesMut::new();
        Link {
            socket,
            frames: Frames::take(&mut input, frame_max),
            input,
            out: BytesMut::new(),
            written: 0,
            frame_max,
            server_properties: FieldTable::default(),
            heart: None,
            blocked: false,
        }
    }

    /// The largest frame in both directions.
    pub fn frame_max(&self) -> u32 {
        self.frame_max
    }

    pub fn server_properties(&self) -> &FieldTable {
        &self.server_properties
    }

    /// Whether the broker has asked its publishers to wait.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether so much output waits that no more should be added.
    pub fn is_congested(&self) -> bool {
        self.out.len() > OUTPUT_HIGH_WATER
    }

    /// The position in the stream of output where the next byte goes.
    pub fn position(&self) -> u64 {
        self.written + self.out.len() as u64
    }

    /// The position up to which the socket has taken the output.
    pub fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn start_heartbeats(&mut self, secs: u16) {
        if secs > 0 {
            let every = Duration::from_secs(secs.into()) / 2;
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            self.heart = Some(Heart {
                ticks,
                wrote: false,
                silent_ticks: 0,
            });
        }
    }

    pub fn send(&mut self, channel: u16, method: &AMQPClass) {
        encode_method(&mut self.out, channel, method);
    }

    /// Writes what the socket takes and, if no frame of an earlier read is left, reads what it has. True if the link has
    /// moved any byte; otherwise the task will be woken when it can.
    pub fn poll(&mut self, cx: &mut Context<'_>, reading: Reading) -> Result<bool, LinkError> {
        self.beat(cx, reading)?;
        let wrote = self.poll_write(cx)?;
        let read = reading == Reading::Yes && self.frames.is_empty() && self.poll_read(cx)?;
        if let Some(heart) = &mut self.heart {
            heart.wrote |= wrote;
            if read {
                heart.silent_ticks = 0;
            }
        }
        Ok(wrote || read)
    }

    /// The next frame that is not about the connection itself.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, LinkError> {
        while let Some(frame) = self.frames.next() {
            let frame = frame?;
            match (frame.kind, frame.channel) {
                (FrameKind::Heartbeat, _) => {}
                (FrameKind::Method, 0) => {
                    if !self.concerns_connection(&decode_method(&frame.payload)?)? {
                        return Ok(Some(frame));
                    }
                }
                _ => return Ok(Some(frame)),
            }
        }
        Ok(None)
    }

    /// Handles what a broker may say about the connection at any time. False for replies.
    fn concerns_connection(&mut self, method: &AMQPClass) -> Result<bool, LinkError> {
        use connection::AMQPMethod as Method;
        match method {
            AMQPClass::Connection(Method::Blocked(_)) => self.blocked = true,
            AMQPClass::Connection(Method::Unblocked(_)) => self.blocked = false,
            AMQPClass::Connection(Method::Close(close)) => {
                let close_ok = Method::CloseOk(connection::CloseOk {});
                self.send(0, &AMQPClass::Connection(close_ok));
                return Err(closed(close.reply_code, close.reply_text.as_str()));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn beat(&mut self, cx: &mut Context<'_>, reading: Reading) -> Result<(), LinkError> {
        let Some(heart) = &mut self.heart else {
            return Ok(());
        };
        while heart.ticks.poll_tick(cx).is_ready() {
            // Input that is left in the socket on purpose says nothing about the peer.
            match reading {
                Reading::Yes => heart.silent_ticks += 1,
                Reading::No => heart.silent_ticks = 0,
            }
            if heart.silent_ticks > SILENT_TICKS_MAX {
                return Err(LinkError::Silent);
            }
            if !std::mem::take(&mut heart.wrote) && self.out.is_empty() {
                self.out.extend_from_slice(&HEARTBEAT);
            }
        }
        Ok(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, LinkError> {
        let mut any = false;
        while !self.out.is_empty() {
            match self.socket.as_mut().poll_write(cx, &self.out) {
                Poll::Ready(Ok(0)) => return Err(LinkError::Lost(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.out.advance(n);
                    self.written += n as u64;
                    any = true;
                }
                Poll::Ready(Err(error)) => return Err(LinkError::Lost(error)),
                Poll::Pending => return Ok(any),
            }
        }
        // TLS keeps bytes back until it is flushed.
        match self.socket.as_mut().poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(LinkError::Lost(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(any),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, LinkError> {
        if self.input.capacity() - self.input.len() < READ_SIZE / 2 {
            self.input.reserve(READ_SIZE);
        }
        let reading = pin!(self.socket.read_buf(&mut self.input));
        match reading.poll(cx) {
            Poll::Ready(Ok(0)) => Err(LinkError::Gone),
            Poll::Ready(Ok(_)) => {
                self.frames = Frames::take(&mut self.input, self.frame_max);
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(LinkError::Lost(error)),
            Poll::Pending => Ok(false),
        }
    }
}

/// The error that a `channel.close` or `connection.close` stands for.
pub(super) fn closed(code: u16, text: &str) -> LinkError {
    LinkError::Closed {
        code,
        text: text.to_owned(),
    }
}

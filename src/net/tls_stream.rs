//! TLS over a socket: moves bytes between rustls, which encrypts, and the socket. Memory is bounded: rustls holds
//! one record that is not complete, [`OUTGOING_MAX`] bytes of output, and decrypted bytes of one small read.

use std::cell::RefCell;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::client_facts::TlsFacts;

/// Maximum number of encrypted bytes that wait for the socket. A write takes no more then.
const OUTGOING_MAX: usize = 64 * 1024;
/// Minimum and maximum number of bytes that one read from the socket asks for.
const READ_MIN: usize = 4 * 1024;
const READ_MAX: usize = 64 * 1024;

thread_local! {
    /// Encrypted bytes between socket and rustls. Empty between calls, so all connections of a thread share it.
    static ENCRYPTED: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_MAX].into());
}

/// A connection whose handshake is complete.
#[derive(Debug)]
pub(super) struct TlsStream {
    socket: TcpStream,
    session: ServerConnection,
    input: Input,
    /// The peer knows that no more output comes.
    said_goodbye: bool,
}

/// What the peer may still send.
#[derive(Debug)]
enum Input {
    Open,
    /// The peer has closed its side, or the socket has ended.
    Ended,
    /// The peer broke TLS's rules. Each further read fails.
    Broken(String),
}

impl Input {
    /// The result of a read that found nothing.
    fn nothing(&self) -> io::Result<usize> {
        match self {
            Input::Open => Err(io::ErrorKind::WouldBlock.into()),
            Input::Ended => Ok(0),
            Input::Broken(why) => Err(io::Error::new(io::ErrorKind::InvalidData, why.as_str())),
        }
    }
}

impl TlsStream {
    pub(super) fn new(socket: TcpStream, mut session: ServerConnection) -> TlsStream {
        session.set_buffer_limit(Some(OUTGOING_MAX));
        TlsStream {
            socket,
            session,
            input: Input::Open,
            said_goodbye: false,
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The client's certificate.
    pub(super) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.session.peer_certificates()?.first()
    }

    /// What another node needs to know of this TLS.
    pub(super) fn facts(&self) -> TlsFacts {
        let suite = self.session.negotiated_cipher_suite();
        TlsFacts::new(
            self.session.protocol_version(),
            suite.map(|suite| suite.suite()),
            self.certificate(),
        )
    }

    pub(super) fn is_shaking_hands(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Reads what the socket has and takes the next step of the handshake. The answer to a broken rule is sent if the
    /// socket takes it.
    pub(super) fn continue_handshake(&mut self) -> io::Result<()> {
        match self.feed(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(fed) => fed?,
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
        }
        match &self.input {
            Input::Open => Ok(()),
            // The peer may have said all that it had to say already.
            Input::Ended if !self.session.is_handshaking() => Ok(()),
            Input::Ended => Err(io::ErrorKind::UnexpectedEof.into()),
            Input::Broken(_) => {
                self.try_flush();
                self.input.nothing().map(drop)
            }
        }
    }

    pub(super) async fn ready(&mut self, interest: Interest) -> io::Result<()> {
        // `try_read` finds nothing once the task has used up its turn, however much the socket has. So the task must
        // yield here, or it would ask again for ever.
        tokio::task::consume_budget().await;
        loop {
            if interest.is_readable() && self.has_input() {
                return Ok(());
            }
            if !self.session.wants_write() {
                return self.socket.ready(interest).await.map(drop);
            }
            let ready = self.socket.ready(interest | Interest::WRITABLE).await?;
            if ready.is_writable() {
                match self.flush_now() {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
            let may_read = ready.is_readable() || ready.is_read_closed();
            let may_write = ready.is_writable() || ready.is_write_closed();
            let is_wanted = (interest.is_readable() && may_read)
                || (interest.is_writable() && may_write)
                || ready.is_error();
            if is_wanted {
                return Ok(());
            }
        }
    }

    /// Whether a read needs nothing more from the socket.
    fn has_input(&mut self) -> bool {
        let decrypted = self.session.reader().fill_buf().map(<[u8]>::len);
        !matches!(self.input, Input::Open) || decrypted.is_ok_and(|bytes| bytes > 0)
    }

    /// Reads about as much as `input` has room for. Decrypts all that it reads, so nothing waits inside. Fails with
    /// `Interrupted` when what came holds no data yet, so that a peer that sends no data does not keep the thread.
    pub(super) fn try_read(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        let read = self.take_decrypted(input);
        if read > 0 {
            return Ok(read);
        }
        if !matches!(self.input, Input::Open) {
            return self.input.nothing();
        }
        let room = (input.capacity() - input.len()).clamp(READ_MIN, READ_MAX);
        let read = ENCRYPTED.with_borrow_mut(|encrypted| {
            let mut buffer = ReadBuf::new(encrypted.get_mut(..room).unwrap_or_default());
            let mut cx = Context::from_waker(Waker::noop());
            match Pin::new(&mut self.socket).poll_read(&mut cx, &mut buffer) {
                Poll::Ready(Ok(())) => Ok(self.decrypt(buffer.filled(), input)),
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            }
        })?;
        self.try_flush();
        match (read, &self.input) {
            (0, Input::Open) => Err(io::ErrorKind::Interrupted.into()),
            (0, input) => input.nothing(),
            (read, _) => Ok(read),
        }
    }

    /// Decrypts what the socket has brought; an empty slice is its end.
    fn decrypt(&mut self, mut encrypted: &[u8], input: &mut BytesMut) -> usize {
        let mut read = 0;
        loop {
            match self.session.read_tls(&mut encrypted) {
                Ok(0) => self.input = Input::Ended,
                Ok(_) => {}
                Err(error) => self.input = Input::Broken(error.to_string()),
            }
            self.process();
            read += self.take_decrypted(input);
            if encrypted.is_empty() || !matches!(self.input, Input::Open) {
                return read;
            }
        }
    }

    /// Gives rustls a few bytes of the socket: what it decrypts waits here until it is read.
    fn feed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut socket = PollSocket(&mut self.socket, cx);
        match self.session.read_tls(&mut socket) {
            Ok(0) => self.input = Input::Ended,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
        self.process();
        Poll::Ready(Ok(()))
    }

    fn process(&mut self) {
        match self.session.process_new_packets() {
            Ok(state) if state.peer_has_closed() => self.input = Input::Ended,
            Ok(_) => {}
            Err(error) => self.input = Input::Broken(error.to_string()),
        }
    }

    fn take_decrypted(&mut self, input: &mut BytesMut) -> usize {
        let mut read = 0;
        let mut reader = self.session.reader();
        while let Ok(bytes @ [_, ..]) = reader.fill_buf() {
            let length = bytes.len();
            input.extend_from_slice(bytes);
            reader.consume(length);
            read += length;
        }
        read
    }

    pub(super) fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let waits = self.flush_now();
        let taken = self.session.writer().write_vectored(slices)?;
        if taken == 0 {
            return waits.and(Err(io::ErrorKind::WouldBlock.into()));
        }
        match self.flush_now() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(taken),
        }
    }

    /// Writes encrypted bytes until none wait, or the socket takes no more.
    pub(super) fn flush_now(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut NowWriter(&self.socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends what the socket takes. The rest, or an error, is for the next use.
    fn try_flush(&mut self) {
        match self.flush_now() {
            Ok(()) | Err(_) => {}
        }
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut reader = self.session.reader();
            if let Ok(bytes @ [_, ..]) = reader.fill_buf() {
                let length = bytes.len().min(buffer.remaining());
                buffer.put_slice(bytes.get(..length).unwrap_or_default());
                reader.consume(length);
                return Poll::Ready(Ok(()));
            }
            if !matches!(self.input, Input::Open) {
                return Poll::Ready(self.input.nothing().map(drop));
            }
            ready!(self.feed(cx))?;
            // Answers of TLS itself. An error shows at the next use.
            match self.poll_flush(cx) {
                Poll::Ready(Ok(()) | Err(_)) | Poll::Pending => {}
            }
        }
    }

    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            let taken = self.session.writer().write_vectored(slices)?;
            match self.poll_flush(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
                Poll::Ready(Ok(())) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut socket = PollSocket(&mut self.socket, cx);
            match self.session.write_tls(&mut socket) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.say_goodbye();
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn say_goodbye(&mut self) {
        if !self.said_goodbye && !self.session.is_handshaking() {
            self.said_goodbye = true;
            self.session.send_close_notify();
        }
    }
}

impl Drop for TlsStream {
    /// The peer learns that the end is no cut by others, if the socket takes it.
    fn drop(&mut self) {
        self.say_goodbye();
        self.try_flush();
    }
}

/// Writes to a socket without waiting.
struct NowWriter<'a>(&'a TcpStream);

impl Write for NowWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket in a task: when it has to wait, it fails with `WouldBlock` and the task is woken later.
struct PollSocket<'a, 'b>(&'a mut TcpStream, &'a mut Context<'b>);

impl Read for PollSocket<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(bytes);
        match Pin::new(&mut *self.0).poll_read(self.1, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for PollSocket<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.0).poll_write(self.1, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.0).poll_write_vectored(self.1, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn or_would_block(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

//! TLS for a load: two threads per connection carry bytes between a plain socket, which the load uses, and the broker's.
//! That costs time of the load generator, which counts it, and none of the broker. Certificates are not checked.

use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use crate::broker::{thread_cpu_seconds, thread_id};

const PIECE: usize = 64 * 1024;

/// The ids of all threads that carry bytes.
static THREADS: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// CPU seconds so far of each thread that carries bytes now, by its id.
pub(crate) fn relay_cpu_seconds() -> HashMap<i32, f64> {
    let used = |&id: &i32| Some((id, thread_cpu_seconds(id)?));
    THREADS.lock().iter().filter_map(used).collect()
}

/// Runs a relay in a thread of its own, whose CPU time counts while it runs.
fn spawn(relay: impl FnOnce() -> io::Result<()> + Send + 'static) {
    thread::spawn(move || {
        let id = thread_id();
        THREADS.lock().push(id);
        let end = relay();
        THREADS.lock().retain(|other| *other != id);
        end
    });
}

/// Both directions of a connection.
struct Relay {
    session: Mutex<ClientConnection>,
    /// Held while encrypted bytes go to the broker, so that they go in order. Locked before the session.
    outgoing: Mutex<TcpStream>,
}

/// Connects through TLS; returns the socket that the load uses.
pub(super) fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut broker = TcpStream::connect((host, port))?;
    broker.set_nodelay(true)?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let session = ClientConnection::new(config()?, name);
    let mut session = session.map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut broker)?;
    }
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let load = TcpStream::connect(listener.local_addr()?)?;
    let (plain, _) = listener.accept()?;
    plain.set_nodelay(true)?;
    let relay = Arc::new(Relay {
        session: Mutex::new(session),
        outgoing: Mutex::new(broker.try_clone()?),
    });
    let (to_load, sending) = (plain.try_clone()?, Arc::clone(&relay));
    spawn(move || sending.send(plain));
    spawn(move || relay.receive(broker, to_load));
    Ok(load)
}

impl Relay {
    /// Encrypts what the load sends, to its end.
    fn send(&self, mut plain: TcpStream) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            let read = plain.read(&mut piece)?;
            if read == 0 {
                self.session.lock().send_close_notify();
                self.flush()?;
                return self.outgoing.lock().shutdown(Shutdown::Write);
            }
            let mut rest = piece.get(..read).unwrap_or_default();
            while !rest.is_empty() {
                let taken = self.session.lock().writer().write(rest)?;
                rest = rest.get(taken..).unwrap_or_default();
                self.flush()?;
            }
        }
    }

    fn flush(&self) -> io::Result<()> {
        let mut broker = self.outgoing.lock();
        let mut encrypted = Vec::new();
        {
            let mut session = self.session.lock();
            while session.wants_write() {
                session.write_tls(&mut encrypted)?;
            }
        }
        broker.write_all(&encrypted)
    }

    /// Decrypts what the broker sends, to its end.
    fn receive(&self, mut broker: TcpStream, mut plain: TcpStream) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut decrypted = Vec::new();
        loop {
            let read = broker.read(&mut piece).unwrap_or_default();
            if read == 0 {
                return plain.shutdown(Shutdown::Both);
            }
            self.decrypt(piece.get(..read).unwrap_or_default(), &mut decrypted)?;
            plain.write_all(&decrypted)?;
            decrypted.clear();
        }
    }

    fn decrypt(&self, mut encrypted: &[u8], decrypted: &mut Vec<u8>) -> io::Result<()> {
        let mut session = self.session.lock();
        while !encrypted.is_empty() {
            session.read_tls(&mut encrypted)?;
            session.process_new_packets().map_err(io::Error::other)?;
            let mut reader = session.reader();
            while let Ok(bytes @ [_, ..]) = reader.fill_buf() {
                let length = bytes.len();
                decrypted.extend_from_slice(bytes);
                reader.consume(length);
            }
        }
        Ok(())
    }
}

fn config() -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let config = config
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let unchecked = config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unchecked(provider)));
    Ok(Arc::new(unchecked.with_no_client_auth()))
}

/// Accepts any certificate, if the broker has its key.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::{relay_cpu_seconds, spawn};

    fn wait_for_relays(count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while relay_cpu_seconds().len() != count {
            assert!(Instant::now() < deadline, "not {count} relays");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_relay_counts_while_it_runs() {
        let (end, ended) = mpsc::channel::<()>();
        spawn(move || ended.recv().map_err(io::Error::other));
        wait_for_relays(1);
        drop(end);
        wait_for_relays(0);
    }
}

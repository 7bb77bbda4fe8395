//! tokio and rustls: a task for each connection, one function per message, one write per read.
//!
//!     rust-server fixed:16 | line | u32 [--tls certificate-and-key.pem]

use std::io::{self, BufReader, Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::rustls::{Certificate, PrivateKey, ServerConfig};
use tokio_rustls::TlsAcceptor;

type Handler = fn(&[u8]) -> Vec<u8>;

/// Return a new value, as the handlers of all peers do.
fn loud(message: &[u8]) -> Vec<u8> {
    message.to_ascii_uppercase()
}

/// The handler of large messages, for which copying is cheaper than looking at every octet.
fn turned(message: &[u8]) -> Vec<u8> {
    let mut reply = Vec::with_capacity(message.len());
    reply.extend_from_slice(&message[1..]);
    reply.push(message[0]);
    reply
}

#[derive(Clone, Copy)]
enum Framing {
    Fixed,
    Line,
    U32,
}

/// The handler is known at run time only, as a server's library knows it: no call of it is compiled into the loop.
#[derive(Clone, Copy)]
struct Service {
    framing: Framing,
    answer: Handler,
}

impl Service {
    /// Answer the whole messages of `octets` into `out`; return how many octets they take, and how many the next needs.
    fn split(&self, octets: &[u8], out: &mut Vec<u8>) -> (usize, usize) {
        let mut at = 0;
        loop {
            let rest = &octets[at..];
            let (head, size, tail) = match self.framing {
                Framing::Fixed => (0, 16, 0),
                Framing::Line => match memchr(rest) {
                    Some(size) => (0, size, 1),
                    None => return (at, rest.len() + 1),
                },
                Framing::U32 if rest.len() < 4 => return (at, 4),
                Framing::U32 => (4, u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize, 0),
            };
            if rest.len() < head + size + tail {
                return (at, head + size + tail);
            }
            let reply = (self.answer)(&rest[head..head + size]);
            if let Framing::U32 = self.framing {
                out.extend_from_slice(&(reply.len() as u32).to_be_bytes());
            }
            out.extend_from_slice(&reply);
            if let Framing::Line = self.framing {
                out.push(b'\n');
            }
            at += head + size + tail;
        }
    }

    async fn talk<S: AsyncReadExt + AsyncWriteExt + Unpin>(&self, mut stream: S) -> io::Result<()> {
        let (mut held, mut out) = (Vec::with_capacity(4096), Vec::with_capacity(4096));
        while stream.read_buf(&mut held).await? > 0 {
            let (used, needed) = self.split(&held, &mut out);
            held.drain(..used);
            held.reserve(needed.saturating_sub(held.len()).max(2048));
            if !out.is_empty() {
                stream.write_all(&out).await?;
                stream.flush().await?;
                out.clear();
            }
        }
        Ok(())
    }
}

fn memchr(octets: &[u8]) -> Option<usize> {
    // As the memchr crate does in such a place: the C library's, which uses the processor's vectors.
    let found = unsafe { libc::memchr(octets.as_ptr().cast(), i32::from(b'\n'), octets.len()) };
    (!found.is_null()).then(|| found as usize - octets.as_ptr() as usize)
}

fn acceptor(path: &str) -> io::Result<TlsAcceptor> {
    let wrong = |why: &str| Error::new(ErrorKind::InvalidData, format!("{path}: {why}"));
    let open = || std::fs::File::open(path).map(BufReader::new);
    let chain = rustls_pemfile::certs(&mut open()?)?
        .into_iter()
        .map(Certificate)
        .collect();
    let key = rustls_pemfile::pkcs8_private_keys(&mut open()?)?
        .pop()
        .ok_or_else(|| wrong("it has no key"))?;
    let config = ServerConfig::builder()
        .with_safe_defaults()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKey(key))
        .map_err(|error| wrong(&error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn raise_descriptor_limit() {
    unsafe {
        let mut limit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

async fn serve(service: Service, tls: Option<TlsAcceptor>) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(4096)?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _): (TcpStream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                Some(tls) => service.talk(tls.accept(stream).await?).await,
                None => service.talk(stream).await,
            }
        });
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let framing = match arguments.get(1).map(String::as_str) {
        Some("fixed:16") => Framing::Fixed,
        Some("line") => Framing::Line,
        Some("u32") => Framing::U32,
        _ => {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "rust-server fixed:16 | line | u32 [--tls FILE]",
            ))
        }
    };
    let answer = if std::env::var("HANDLER").as_deref() == Ok("turned") {
        turned
    } else {
        loud
    };
    let tls = match arguments.get(3) {
        Some(path) => Some(acceptor(path)?),
        None => None,
    };
    raise_descriptor_limit();
    // One thread: every server has one core.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(serve(Service { framing, answer }, tls))
}

//! Messages between a run and the process of one of its nodes, over a pair of sockets.
//!
//! Each is its length in four bytes, and itself as postcard writes it. What is long goes in pieces, so
//! there is a bound on the length, and nothing is held twice.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::control::Notice;
use super::message::ToConductor;

/// No message is longer. Histograms are the longest: three of them, of 1 MB at most.
const MOST_BYTES: usize = 16 << 20;

/// Where messages go in. Clones share it, and no message comes between the bytes of another.
#[derive(Clone, Debug)]
pub(in super::super) struct Outlet {
    stream: Arc<Mutex<UnixStream>>,
}

impl Outlet {
    pub(in super::super) fn new(stream: UnixStream) -> Self {
        Self { stream: Arc::new(Mutex::new(stream)) }
    }

    pub(in super::super) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        let mut bytes = postcard::to_extend(message, vec![0; PREFIX]).map_err(io::Error::other)?;
        let length = bytes.len() - PREFIX;
        assert!(length <= MOST_BYTES, "what is long goes in pieces");
        bytes[..PREFIX].copy_from_slice(&(length as u32).to_le_bytes());
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes)
    }

    /// Neither end has anything to say from now on.
    pub(in super::super) fn close(&self) {
        let _ = self.stream.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Both);
    }

    pub(in super::super) fn notice(&self, notice: Notice) -> io::Result<()> {
        self.send(&ToConductor::Notice(notice))
    }
}

/// Where messages come out.
#[derive(Debug)]
pub(in super::super) struct Inlet {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Inlet {
    pub(in super::super) fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Whatever the time limit was.
    pub(in super::super) fn wait_for_ever(&self) {
        let _ = self.stream.set_read_timeout(None);
    }

    /// Waits for the next message. `None` once the other end is closed, and all has been received.
    pub(in super::super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut prefix = [0; PREFIX];
        if self.stream.read(&mut prefix[..1])? == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut prefix[1..])?;
        let length = u32::from_le_bytes(prefix) as usize;
        let unfit = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        if length > MOST_BYTES {
            return Err(unfit(format!("a message of {length} bytes")));
        }
        self.buffer.resize(length, 0);
        self.stream.read_exact(&mut self.buffer)?;
        postcard::from_bytes(&self.buffer).map(Some).map_err(|error| unfit(error.to_string()))
    }
}

const PREFIX: usize = size_of::<u32>();

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Outlet, Inlet) {
        let (one, other) = UnixStream::pair().expect("a pair of sockets");
        (Outlet::new(one), Inlet::new(other))
    }

    #[test]
    fn messages_come_out_as_they_went_in() {
        let (outlet, mut inlet) = pair();
        let sent = ["", "one", &"x".repeat(100_000)];
        let sender = {
            let (outlet, sent) = (outlet.clone(), sent.map(str::to_owned));
            std::thread::spawn(move || sent.iter().for_each(|text| outlet.send(text).expect("sent")))
        };
        sent.iter().for_each(|text| assert_eq!(inlet.receive::<String>().expect("one more"), Some((*text).to_owned())));
        sender.join().expect("it sends");
        drop(outlet);
        assert_eq!(inlet.receive::<String>().expect("the end"), None);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let cases: [(&[u8], _); 4] = [
            (&[0xff; 4], io::ErrorKind::InvalidData),
            (&[4, 0], io::ErrorKind::UnexpectedEof),
            (&[4, 0, 0, 0, 3], io::ErrorKind::UnexpectedEof),
            (&[2, 0, 0, 0, 9, b'x'], io::ErrorKind::InvalidData),
        ];
        for (bytes, kind) in cases {
            let (outlet, mut inlet) = pair();
            outlet.stream.lock().expect("nobody holds it").write_all(bytes).expect("room in the socket");
            drop(outlet);
            assert_eq!(inlet.receive::<String>().expect_err("no message").kind(), kind, "{bytes:?}");
        }
    }
}

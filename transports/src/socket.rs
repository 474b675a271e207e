//! How a TCP socket between two nodes is set up, whoever then drives it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};

/// A stream socket to reach `address` with: non-blocking, not connected yet.
pub fn open(address: SocketAddr, congestion: &str) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    tune(&socket, congestion)?;
    Ok(socket)
}

/// Sends at once what is written, because batching is ours, and under the given congestion control.
/// What a listener accepts inherits both from it.
///
/// # Errors
/// Also when the kernel has no congestion control of that name.
pub fn tune(socket: impl AsFd, congestion: &str) -> io::Result<()> {
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_tcp_congestion(&socket, congestion).map_err(|error| {
        let known = "/proc/sys/net/ipv4/tcp_available_congestion_control";
        let told = io::Error::from(error);
        io::Error::new(
            told.kind(),
            format!("TCP congestion control `{congestion}`: {told} ({known} lists what there is)"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    #[test]
    fn what_is_accepted_inherits_from_its_listener() -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        tune(&listener, "reno")?;
        let _dialled = TcpStream::connect(listener.local_addr()?)?;
        let (accepted, _) = listener.accept()?;
        assert!(accepted.nodelay()?);
        assert_eq!(sockopt::tcp_congestion(&accepted)?, "reno");
        Ok(())
    }

    #[test]
    fn an_unknown_congestion_control_is_named_in_the_error() {
        let error = open((Ipv4Addr::LOCALHOST, 1).into(), "no-such-one").expect_err("nobody has it");
        assert!(error.to_string().contains("`no-such-one`"), "{error}");
    }
}

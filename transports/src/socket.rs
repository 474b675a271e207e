//! How a TCP socket between two nodes is set up, whoever then drives it.

use std::fs::read_to_string;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};

/// A non-blocking socket on its way to `address`; whether it gets there shows when it can be written
/// to. `None` if it is known already that nobody is there.
///
/// # Errors
/// The machine's: there is no socket to be had, and trying again would hide that.
pub fn dial(address: SocketAddr, congestion: &str) -> io::Result<Option<OwnedFd>> {
    let socket = open(address, congestion)?;
    let on_its_way = matches!(connect(&socket, &address), Ok(()) | Err(Errno::INPROGRESS));
    Ok(on_its_way.then_some(socket))
}

/// Finds out whether sockets can be set up as asked, before the first connection has to be.
///
/// # Errors
/// As [`tune`].
pub fn check(congestion: &str) -> io::Result<()> {
    open(([127, 0, 0, 1], 0).into(), congestion).map(drop)
}

fn open(address: SocketAddr, congestion: &str) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    tune(&socket, congestion)?;
    Ok(socket)
}

/// Sends at once what is written, because batching is ours, and under the given congestion control.
///
/// What is accepted has to be tuned itself. It inherits from its listener as that was when the connection was made,
/// which is the kernel's doing and may be long before anybody accepts, or tunes a listener: such a connection would
/// hold small writes back until the last one is acknowledged, which its other end puts off by 40 ms.
///
/// # Errors
/// Also when the kernel has no congestion control of that name: then it says which there are.
pub fn tune(socket: impl AsFd, congestion: &str) -> io::Result<()> {
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_tcp_congestion(&socket, congestion).map_err(|error| match error {
        Errno::NOENT | Errno::INVAL => {
            let available = read_to_string(AVAILABLE).unwrap_or_default();
            let what = format!("there is no TCP congestion control `{congestion}`; available: {}", available.trim());
            io::Error::new(io::ErrorKind::InvalidInput, what)
        }
        error => error.into(),
    })
}

/// Where the kernel lists its congestion controls.
const AVAILABLE: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    #[test]
    fn what_was_made_before_its_listener_was_tuned_is_not() -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let _dialled = TcpStream::connect(listener.local_addr()?)?;
        tune(&listener, "reno")?;
        let (accepted, _) = listener.accept()?;
        assert!(!accepted.nodelay()?);
        tune(&accepted, "reno")?;
        assert!(accepted.nodelay()?);
        assert_eq!(sockopt::tcp_congestion(&accepted)?, "reno");
        Ok(())
    }

    #[test]
    fn an_unknown_congestion_control_is_named_and_so_are_the_known() {
        let error = check("no-such-one").expect_err("nobody has it");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let error = error.to_string();
        assert!(error.contains("`no-such-one`") && error.contains("reno"), "{error}");
    }
}

//! A network namespace for each node, and a pair of `veth` devices between any two: what one node sends to another
//! leaves by the device that is named after that one, and comes out of its other end.
//!
//! A device goes with its namespace, and its other end with it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::thread;

use quorumbench_transports::tun::Namespace;
use rustix::io::dup;
use rustix::thread::{CapabilitySet, capabilities, configure_capability_in_ambient_set, set_capabilities};

use super::mover::address;

/// A node's device on which what it sends to `peer` leaves.
pub(super) fn device(peer: usize) -> String {
    format!("{DEVICE}{peer}")
}

/// Whose device it is.
pub(super) fn peer(device: &str) -> Option<usize> {
    device.strip_prefix(DEVICE)?.parse().ok()
}

const DEVICE: &str = "to";

/// Every device has this one, so that nobody need ask for another's: no ARP, which links would lose and delay, too.
const MAC: &str = "02:00:00:00:00:01";

/// The namespaces of so many nodes, each of which can reach all others by their addresses, with packets of `mtu` bytes at
/// most.
pub(super) fn lay(nodes: usize, mtu: usize) -> io::Result<Vec<Namespace>> {
    let namespaces: Vec<_> = (0..nodes).map(|_| Namespace::alone()).collect::<io::Result<_>>()?;
    // The same again, to be inherited, which those are not.
    let doors: Vec<_> = namespaces.iter().map(dup).collect::<Result<_, _>>()?;
    let end = |of: usize, at: usize| {
        format!("{} mtu {mtu} address {MAC} netns /proc/self/fd/{}", device(of), doors[at].as_raw_fd())
    };
    let pairs = (0..nodes).flat_map(|a| (0..a).map(move |b| (a, b)));
    let links = pairs.map(|(a, b)| format!("link add {} type veth peer name {}\n", end(a, b), end(b, a)));
    batch("ip", &links.collect::<String>())?;
    for (node, namespace) in namespaces.iter().enumerate() {
        namespace.within(|| batch("ip", &settings(node, nodes)))??;
    }
    Ok(namespaces)
}

/// A node's address, and which device leads to whom. The kernel leaves nothing to a device to cut into packets, as there is
/// none that would, and says nothing there for itself.
fn settings(node: usize, nodes: usize) -> String {
    let here = address(node);
    let mut lines = format!("link set dev lo up\naddress add {here}/32 dev lo\n");
    for peer in (0..nodes).filter(|&peer| peer != node) {
        let (device, there) = (device(peer), address(peer));
        writeln!(lines, "link set dev {device} arp off addrgenmode none gso_max_segs 1 up").expect("a string");
        writeln!(lines, "route add {there}/32 dev {device} src {here}").expect("a string");
    }
    lines
}

/// Has a program of iproute2 do `lines`, one after the other, in the namespace of this thread.
pub(super) fn batch(program: &str, lines: &str) -> io::Result<()> {
    run(program, &["-batch", "-"], lines).map(drop)
}

/// What a program of iproute2 says.
///
/// # Errors
/// What it complains of, in its first words.
pub(super) fn run(program: &str, arguments: &[&str], input: &str) -> io::Result<Vec<u8>> {
    let body = || {
        // Without them, it says so itself.
        let _ = pass_on_privileges();
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", SYSTEM)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // What ends before it has read all says why.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        child.wait_with_output()
    };
    // On a thread of its own, whose privileges are nobody else's.
    let output = thread::scope(|scope| scope.spawn(body).join().expect("it does not panic"));
    let output = output.map_err(|why| {
        // Of another kind: what is not found is no device.
        io::Error::other(format!("cannot run `{program}`, which is a part of iproute2, from {SYSTEM}: {why}"))
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let refused = said.contains("Operation not permitted");
    let kind = if refused { io::ErrorKind::PermissionDenied } else { io::ErrorKind::Other };
    Err(io::Error::new(kind, format!("`{program}` says: {}", said.lines().next().unwrap_or("nothing").trim())))
}

/// Where these programs are looked for, and nowhere else: what finds privileges must be the system's own, and many users'
/// `PATH` has no `sbin`.
const SYSTEM: &str = "/usr/sbin:/sbin:/usr/bin:/bin";

/// What this thread starts may set up devices if this thread may, and not only if it is root's.
fn pass_on_privileges() -> rustix::io::Result<()> {
    let mut sets = capabilities(None)?;
    let needed = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
    sets.inheritable |= needed & sets.permitted;
    set_capabilities(None, sets)?;
    configure_capability_in_ambient_set(CapabilitySet::NET_ADMIN, true)?;
    configure_capability_in_ambient_set(CapabilitySet::SYS_ADMIN, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::read_to_string;
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    const MTU: usize = 1400;

    fn in_namespace<T>(namespace: &Namespace, body: impl FnOnce() -> io::Result<T>) -> T {
        namespace.within(body).expect("a namespace").expect("what it is for")
    }

    /// Each device of a namespace, and the figures of what left by it: bytes, and packets.
    fn sent(namespace: &Namespace) -> Vec<(String, u64, u64)> {
        let table = in_namespace(namespace, || read_to_string("/proc/thread-self/net/dev"));
        let line = |line: &str| {
            let (name, figures) = line.split_once(':')?;
            let figures: Vec<u64> =
                figures.split_whitespace().map(|figure| figure.parse().expect("a figure")).collect();
            Some((name.trim().to_owned(), figures[8], figures[9]))
        };
        table.lines().filter_map(line).collect()
    }

    #[test]
    fn each_reaches_each_in_packets_and_nothing_is_left() {
        let namespaces = match lay(3, MTU) {
            Ok(namespaces) => namespaces,
            Err(why) => return println!("skipped: {why}"),
        };
        // Nobody says anything unasked.
        assert!(namespaces.iter().flat_map(sent).all(|(.., packets)| packets == 0));
        let long = vec![7; 1 << 20];
        for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            let listener = in_namespace(&namespaces[to], || TcpListener::bind((address(to), 7)));
            let mut sender = in_namespace(&namespaces[from], || TcpStream::connect((address(to), 7)));
            let (mut receiver, whence) = listener.accept().expect("it connects");
            assert_eq!(whence.ip(), address(from));
            let received = thread::scope(|scope| {
                let reading = scope.spawn(|| {
                    let mut received = Vec::new();
                    receiver.read_to_end(&mut received).map(|_| received)
                });
                sender.write_all(&long).expect("sent");
                drop(sender);
                reading.join().expect("it does not panic").expect("all of it")
            });
            assert_eq!(received, long);
        }
        let sent = sent(&namespaces[0]);
        for (device, bytes, packets) in sent.iter().filter(|(device, ..)| peer(device).is_some()) {
            // With its header of Ethernet: more would be several that were left to a device to cut.
            assert!(*bytes > 1 << 20 && bytes / packets <= MTU as u64 + 14, "{device}: {bytes} in {packets}");
        }
        assert_eq!(sent.len(), 3, "itself, and two others: {sent:?}");

        let mut namespaces = namespaces;
        namespaces.truncate(1);
        // Its devices are gone with their other ends, and those with their namespaces.
        let begin = Instant::now();
        while self::sent(&namespaces[0]).len() > 1 {
            assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", self::sent(&namespaces[0]));
            thread::sleep(Duration::from_millis(1));
        }
        let here = read_to_string("/proc/thread-self/net/dev").expect("devices");
        assert!(!here.contains(DEVICE), "no device was ever here: {here}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let why = run("no-such-program", &[], "").expect_err("it is not there");
        assert!(
            why.to_string().starts_with("cannot run `no-such-program`, which is a part of iproute2, from /usr/sbin:"),
            "{why}"
        );
    }
}

//! Sockets: how the kernel paces them, and how much it holds for them.

use super::{Finding, Touches};
use crate::host::Root;

pub(super) fn findings(root: &Root) -> Vec<Finding> {
    let buffer = |name: &str, of: &str| buffer(root, name, of).touching(Touches::Quic);
    vec![
        congestion(root),
        buffer("rmem_max", "network.receive_buffer"),
        buffer("wmem_max", "network.send_buffer"),
        tcp_buffer(root).touching(Touches::Tcp),
        slow_start(root).touching(Touches::Tcp),
    ]
}

/// Runs ask for `cubic`, socket by socket, unless told otherwise; so this is about those that are.
fn congestion(root: &Root) -> Finding {
    let check = "network.congestion";
    let read = |path: &str| root.word(path);
    let finding = match read("/proc/sys/net/ipv4/tcp_congestion_control") {
        None => Finding::unknown(check, "the kernel does not say how it controls congestion"),
        Some(name) if !name.starts_with("bbr") => Finding::ok(check, name),
        Some(name) => match read("/proc/sys/net/core/default_qdisc").as_deref() {
            Some("fq") => Finding::ok(check, format!("{name}, paced by fq")),
            qdisc => Finding::warn(check, format!("{name} without fq (links have {})", qdisc.unwrap_or("something else")))
                .costs("a timer a socket paces it: frames of 1 KiB over loopback lost a third of their throughput; runs ask for cubic unless transport.congestion says otherwise")
                .todo("--set transport.congestion=cubic, or sysctl -w net.core.default_qdisc=fq net.ipv4.tcp_congestion_control=cubic"),
        },
    };
    finding.touching(Touches::Bbr)
}

/// What implementations of QUIC ask for (quic-go, "UDP Buffer Sizes"): 7.5 MB.
const ENOUGH: u64 = 7_500_000;

fn buffer(root: &Root, name: &str, check: &str) -> Finding {
    match root.number::<u64>(&format!("/proc/sys/net/core/{name}")) {
        None => Finding::unknown(check, "the kernel does not say how much a socket may hold"),
        Some(bytes) if bytes >= ENOUGH => Finding::ok(check, format!("a socket may hold {} KiB", bytes >> 10)),
        Some(bytes) => Finding::note(check, format!("a socket may hold {} KiB", bytes >> 10))
            .costs("what arrives while a node does something else is dropped, and QUIC takes that for congestion (quic-go, \"UDP Buffer Sizes\")")
            .todo(format!("sysctl -w net.core.{name}={ENOUGH}")),
    }
}

fn tcp_buffer(root: &Root) -> Finding {
    let check = "network.tcp_buffer";
    // Least, first, most.
    let most =
        root.text("/proc/sys/net/ipv4/tcp_rmem").and_then(|text| text.split_whitespace().nth(2)?.parse::<u64>().ok());
    match most {
        None => Finding::unknown(check, "the kernel does not say how far it lets a receiver's buffer grow"),
        Some(bytes) if bytes >= 4 << 20 => Finding::ok(check, format!("a receiver's may grow to {} KiB", bytes >> 10)),
        Some(bytes) => Finding::note(check, format!("a receiver's may grow to {} KiB only", bytes >> 10))
            .costs("over a link that is far away, throughput is that much a round trip at most")
            .todo("sysctl -w net.ipv4.tcp_rmem='4096 131072 6291456'"),
    }
}

fn slow_start(root: &Root) -> Finding {
    let check = "network.slow_start";
    match root.number::<u8>("/proc/sys/net/ipv4/tcp_slow_start_after_idle") {
        None => Finding::unknown(check, "the kernel does not say whether an idle connection starts slowly again"),
        Some(0) => Finding::ok(check, "a connection that was idle goes on as it was"),
        Some(_) => Finding::note(check, "a connection that was idle starts slowly again")
            .costs("over links that are far away, a burst after a pause takes more round trips")
            .todo("sysctl -w net.ipv4.tcp_slow_start_after_idle=0"),
    }
}

//! Whether rings can be had.

use quorumbench_transports::uring;

use super::{Finding, Touches};
use crate::host::Root;

pub(super) fn findings(root: &Root) -> Vec<Finding> {
    let check = "io_uring.allowed";
    let finding = match root.number::<u8>("/proc/sys/kernel/io_uring_disabled") {
        None => Finding::unknown(check, "the kernel does not say who may use io_uring"),
        Some(0) => Finding::ok(check, "everybody may use io_uring"),
        Some(level) => Finding::note(check, format!("kernel.io_uring_disabled is {level}"))
            .costs("the transport uring cannot be had, but by the few who are allowed to")
            .todo("sysctl -w kernel.io_uring_disabled=0, or --set transport=tokio-tcp"),
    };
    vec![finding.touching(Touches::IoUring)]
}

/// Sets one up: a container may forbid what the kernel allows.
pub(super) fn set_up() -> Finding {
    let check = "io_uring.set_up";
    let finding = match uring::probe() {
        Err(error) => Finding::warn(check, format!("no ring can be set up: {error}"))
            .costs("the transport uring cannot be had")
            .todo("allow io_uring in the container's seccomp profile, or --set transport=tokio-tcp"),
        Ok(can) if can.incremental && can.zero_copy => {
            Finding::ok(check, "a ring can be set up, and can all that is used")
        }
        Ok(can) => Finding::note(
            check,
            format!(
                "a ring can be set up; incremental buffers: {}, sends without a copy: {}",
                can.incremental, can.zero_copy
            ),
        )
        .costs("without incremental buffers (Linux 6.12) small receives are copied")
        .todo("a newer kernel"),
    };
    finding.touching(Touches::IoUring)
}

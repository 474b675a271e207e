//! Whether this machine has what the transport needs, and if not, why.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// What the kernel can do beyond what every supported one (Linux 6.1) can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// A receive takes only what it fills of a buffer (Linux 6.12). Without it, it takes the whole
    /// buffer, and small receives are copied rather than pin one.
    pub incremental: bool,
    /// Sends without a copy into the kernel.
    pub zero_copy: bool,
}

/// Why there is no ring: the inner error of the [`io::Error`] that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The kernel has no `io_uring` at all.
    Absent,
    /// It is forbidden: by the sysctl if it is not 0, otherwise by a seccomp filter.
    Forbidden {
        /// What `/proc/sys/kernel/io_uring_disabled` says, if it is there.
        disabled: Option<u8>,
    },
    /// There is no memory for a ring: none that may be locked, or none at all.
    NoMemory,
    /// The kernel is too old.
    Old,
    /// Something else.
    Other(Errno),
}

impl Unavailable {
    /// What `error`, from setting up a ring, means.
    pub(super) fn explain(error: &io::Error) -> io::Error {
        let reason = match Errno::from_io_error(error) {
            Some(Errno::NOSYS) => Self::Absent,
            Some(Errno::PERM | Errno::ACCESS) => Self::Forbidden { disabled: disabled() },
            Some(Errno::NOMEM) => Self::NoMemory,
            Some(Errno::INVAL) => Self::Old,
            Some(errno) => Self::Other(errno),
            None => return io::Error::new(error.kind(), error.to_string()),
        };
        io::Error::new(error.kind(), reason)
    }
}

fn disabled() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("io_uring cannot be used: ")?;
        match self {
            Self::Absent => f.write_str("this kernel has none")?,
            Self::Forbidden { disabled: Some(value @ 1..) } => {
                write!(f, "/proc/sys/kernel/io_uring_disabled is {value}")?;
            }
            Self::Forbidden { .. } => f.write_str("a seccomp filter forbids it, as containers do by default")?,
            Self::NoMemory => {
                f.write_str("no memory for a ring; the limit of locked memory may be too low (raise `ulimit -l`)")?;
            }
            Self::Old => f.write_str("this kernel is older than Linux 6.1")?,
            Self::Other(errno) => errno.fmt(f)?,
        }
        f.write_str("; the transport `tokio-tcp` does without it")
    }
}

impl std::error::Error for Unavailable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_and_the_way_out_are_named() {
        for (errno, reason) in [
            (Errno::NOSYS, "this kernel has none"),
            (Errno::NOMEM, "ulimit -l"),
            (Errno::INVAL, "Linux 6.1"),
            (Errno::MFILE, "open files"),
        ] {
            let error = Unavailable::explain(&errno.into()).to_string();
            assert!(error.contains(reason) && error.contains("`tokio-tcp`"), "{error}");
        }
        let forbidden = |disabled| Unavailable::Forbidden { disabled }.to_string();
        assert!(forbidden(Some(2)).contains("io_uring_disabled is 2"));
        assert!(forbidden(Some(0)).contains("seccomp") && forbidden(None).contains("seccomp"));
    }
}

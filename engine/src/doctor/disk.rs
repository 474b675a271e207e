//! The disk that logs would be on.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Finding, Touches};
use crate::disk::{Disk, file_system};
use crate::host::{Root, chosen};
use crate::summary::time_text;

pub(super) fn findings(root: &Root, folder: &Path) -> Vec<Finding> {
    let there = there(folder);
    let device = root.is_real().then(|| std::fs::metadata(&there).ok()).flatten().map(|metadata| metadata.dev());
    let device = device.map_or_else(
        || FIRST.to_owned(),
        |device| format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)),
    );
    [kind(file_system(&there).ok().as_deref()), cache(root, &device), scheduler(root, &device)]
        .map(|finding| finding.touching(Touches::SyncedLogs))
        .to_vec()
}

/// The device in a tree that stands in for a machine.
const FIRST: &str = "8:0";

/// The folder, or the nearest one above that is there: one that is still to be made will be on its disk.
fn there(folder: &Path) -> PathBuf {
    let named = |path: &Path| if path.as_os_str().is_empty() { ".".into() } else { path.to_owned() };
    folder.ancestors().map(named).find(|path| path.is_dir()).unwrap_or_else(|| ".".into())
}

fn kind(name: Option<&str>) -> Finding {
    let check = "disk.file_system";
    match name {
        None => Finding::unknown(check, "the folder cannot be looked at"),
        Some(name @ ("tmpfs" | "ramfs")) => Finding::warn(check, format!("{name}, which is memory"))
            .costs("a sync does nothing there: results with durable logs would be a lie")
            .todo("--set storage.path=DIR (doctor: --path DIR) on a disk"),
        Some(name @ ("nfs" | "fuse")) => Finding::note(check, name)
            .costs("a sync goes over a network, or through another process")
            .todo("--set storage.path=DIR (doctor: --path DIR) on a local disk"),
        Some(name) => Finding::ok(check, name),
    }
}

/// Where the kernel keeps a setting of the device; a partition has its queue with the whole disk.
fn of_queue(root: &Root, device: &str, name: &str) -> String {
    let queue = |up: &str| format!("/sys/dev/block/{device}/{up}queue/{name}");
    let own = queue("");
    if root.path(&own).exists() { own } else { queue("../") }
}

fn cache(root: &Root, device: &str) -> Finding {
    let check = "disk.write_cache";
    match root.text(&of_queue(root, device, "write_cache")).as_deref() {
        Some("write back") => Finding::ok(check, "it has one, and the kernel flushes it at every sync"),
        Some("write through") => Finding::note(check, "it says that it has none, so that the kernel never flushes it")
            .costs("a sync is as long as a write; if the device does have one (virtual ones may), what was synced can be lost")
            .todo("compare durable results of this machine only with each other"),
        _ => Finding::unknown(check, "the kernel does not say whether the disk has one"),
    }
}

fn scheduler(root: &Root, device: &str) -> Finding {
    let check = "disk.scheduler";
    let path = of_queue(root, device, "scheduler");
    match root.text(&path).and_then(|text| chosen(&text)).as_deref() {
        None => Finding::unknown(check, "the kernel does not say how it orders writes"),
        Some(name @ ("bfq" | "kyber")) => Finding::note(check, name)
            .costs("it holds writes back to be fair to others, or to meet goals of its own")
            .todo(format!("echo none > {path}")),
        Some(name) => Finding::ok(check, name),
    }
}

/// Writes and syncs for half a second.
pub(super) fn sync(folder: &Path) -> Finding {
    let folder = there(folder);
    match Disk::probe(&folder, false, 1) {
        Ok(disk) => judge(&disk),
        Err(error) => Finding::warn("disk.sync", format!("{} cannot be written to: {error}", folder.display()))
            .costs("there is no place for durable logs")
            .todo("--path DIR")
            .touching(Touches::SyncedLogs),
    }
}

/// What a probe says, of whoever has made it.
pub(super) fn judge(disk: &Disk) -> Finding {
    let check = "disk.sync";
    let [p50, p99] = [0.5, 0.99].map(|quantile| disk.syncs.value_at_quantile(quantile));
    let what = format!("4 KiB and its sync take {} at p50 and {} at p99", time_text(p50 as f64), time_text(p99 as f64));
    let finding = if disk.is_memory() {
        Finding::warn(check, format!("{what}, in memory")).costs("nothing is durable there")
    } else if disk.is_too_fast() {
        Finding::warn(check, what)
            .costs("no device answers so soon: something on the way says that it has synced and has not, and a commit that waits for it waits for nothing")
    } else {
        return Finding::ok(check, what).touching(Touches::SyncedLogs);
    };
    finding.todo("--set storage.path=DIR (doctor: --path DIR) on a disk that syncs").touching(Touches::SyncedLogs)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::measure::histogram;

    #[test]
    fn syncs_too_fast_to_be_real_are_found() {
        let disk = |file_system: &str, ns: u64| {
            let mut syncs = histogram();
            syncs.saturating_record_n(ns, 100);
            Disk { file_system: file_system.into(), together: syncs.clone(), syncs }
        };
        assert_eq!(judge(&disk("ext4", 100_000)).level, Level::Ok);
        assert_eq!(judge(&disk("ext4", 900)).level, Level::Warn);
        assert_eq!(judge(&disk("tmpfs", 100_000)).level, Level::Warn);
    }

    #[test]
    fn memory_is_no_place_for_logs() {
        assert_eq!(kind(Some("tmpfs")).level, Level::Warn);
        assert_eq!(kind(Some("nfs")).level, Level::Note);
        assert_eq!(kind(Some("ext4")).level, Level::Ok);
        assert_eq!(kind(None).level, Level::Unknown);
    }

    #[test]
    fn a_folder_without_a_disk_is_said() {
        assert_eq!(sync(Path::new("/proc/nowhere")).level, Level::Warn);
    }
}

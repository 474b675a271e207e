//! Group commit: one sync for all that is in a file and waits to be durable.

use std::fs::File;
use std::sync::Arc;

use rustix::io::Errno;

use super::{FileError, FileWritten};

/// Writes that are in their files and wait for a sync, by file.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// A place without a file is free. A node has a file or two at a time.
    files: Vec<Group>,
}

/// One file's.
#[derive(Debug, Default)]
struct Group {
    file: Option<Arc<File>>,
    /// For the next sync.
    waiting: Vec<FileWritten>,
    /// What the sync under way serves; nothing if there is none.
    served: Vec<FileWritten>,
}

impl Groups {
    /// Adds a write that is in `file`.
    pub(crate) fn add(&mut self, file: Arc<File>, written: FileWritten) {
        let of = |group: &Group| group.file.as_ref().is_some_and(|known| Arc::ptr_eq(known, &file));
        let place = self.files.iter().position(of).or_else(|| self.files.iter().position(|group| group.file.is_none()));
        let place = place.unwrap_or_else(|| {
            self.files.push(Group::default());
            self.files.len() - 1
        });
        self.files[place].file = Some(file);
        self.files[place].waiting.push(written);
    }

    /// The next file that is to be synced, and the number to say that it [is](Self::synced) with.
    pub(crate) fn start(&mut self) -> Option<(usize, &File)> {
        let ready = |group: &Group| group.served.is_empty() && !group.waiting.is_empty();
        let place = self.files.iter().position(ready)?;
        let group = &mut self.files[place];
        std::mem::swap(&mut group.waiting, &mut group.served);
        Some((place, group.file.as_deref().expect("it is waited for")))
    }

    /// A sync is over, and with it the writes that it served.
    pub(crate) fn synced(&mut self, place: usize, result: Result<(), Errno>, over: &mut Vec<FileWritten>) {
        let group = &mut self.files[place];
        let result = |written| FileWritten { result: result.map_err(|error| FileError::Sync(error.into())), ..written };
        over.extend(group.served.drain(..).map(result));
        if group.waiting.is_empty() {
            group.file = None;
        }
    }

    /// Whether no write waits for a sync.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.iter().all(|group| group.file.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AlignedBuffer, FileBytes};
    use super::*;

    fn written(id: u64) -> FileWritten {
        FileWritten { id, result: Ok(()), bytes: FileBytes::Aligned(AlignedBuffer::default()) }
    }

    fn ids(over: &mut Vec<FileWritten>) -> Vec<(u64, bool)> {
        over.drain(..).map(|written| (written.id, written.result.is_ok())).collect()
    }

    #[test]
    fn a_sync_serves_what_was_written_before_it_began_and_none_overlaps() {
        let open = || Arc::new(File::open("/dev/null").expect("it is there"));
        let (mut groups, one, two, mut over) = (Groups::default(), open(), open(), Vec::new());
        groups.add(one.clone(), written(1));
        groups.add(one.clone(), written(2));
        let (first, _) = groups.start().expect("there is one to be synced");
        groups.add(one.clone(), written(3));
        groups.add(two.clone(), written(4));
        let (other, _) = groups.start().expect("another file does not wait");
        assert!(first != other && groups.start().is_none(), "one sync of a file at a time");
        groups.synced(first, Err(Errno::IO), &mut over);
        assert!(over.iter().all(|written| matches!(written.result, Err(FileError::Sync(_)))), "{over:?}");
        assert_eq!(ids(&mut over), [(1, false), (2, false)]);
        assert_eq!(groups.start().map(|(place, _)| place), Some(first));
        groups.synced(first, Ok(()), &mut over);
        groups.synced(other, Ok(()), &mut over);
        assert_eq!(ids(&mut over), [(3, true), (4, true)]);
        assert!(groups.is_empty() && groups.start().is_none());
        assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 1), "files are let go");
    }
}

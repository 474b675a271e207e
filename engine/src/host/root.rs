//! Where the kernel describes the machine: `/`, or a tree that stands in for it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A prefix of every path that is looked at.
///
/// What it reads may be anything. A file that is not there, cannot be read or makes no sense is `None`, and what is shown
/// to people is a short [`word`](Self::word) without control characters.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Default for Root {
    fn default() -> Self {
        Self("/".into())
    }
}

impl Root {
    /// The most that is read of a file: what the kernel says of a machine with many cores is a few hundred kilobytes.
    const MOST_BYTES: u64 = 1 << 20;
    /// The longest word.
    const MOST_CHARS: usize = 120;

    /// All paths are below this one.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where `path`, which is absolute, really is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// Whether it is this machine, and not a tree that stands in for one.
    pub fn is_real(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// A file's bytes, a megabyte of them at most.
    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.path(path)).ok()?;
        file.take(Self::MOST_BYTES).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// A file's text without the space around it. What is no UTF-8 in it is replaced.
    pub fn text(&self, path: &str) -> Option<String> {
        self.bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A file that holds a few printable words.
    pub fn word(&self, path: &str) -> Option<String> {
        self.text(path).and_then(|text| word(&text))
    }

    /// A file that holds a number.
    pub fn number<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// What follows the colon on the first line that begins with `key`.
    pub fn field(&self, path: &str, key: &str) -> Option<String> {
        let text = self.text(path)?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        word(line.split_once(':')?.1.trim())
    }

    /// The names in a folder, in order; none where there is no such folder.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The folders of the cores that are there: `/sys/devices/system/cpu/cpu0` and so on.
    pub fn cores(&self) -> Vec<String> {
        let is_core = |name: &String| {
            name.strip_prefix("cpu")
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let folder = "/sys/devices/system/cpu";
        self.names(folder).into_iter().filter(is_core).map(|name| format!("{folder}/{name}")).collect()
    }
}

/// `text`, if it can be shown as it is: short, printable, and there.
pub(crate) fn word(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.chars().take(Root::MOST_CHARS + 1).count() <= Root::MOST_CHARS;
    let plain = |c: char| c == ' ' || c.is_ascii_graphic();
    (fits && text.chars().all(plain)).then(|| text.to_owned())
}

/// The one in brackets, of a file that lists its choices: `always [madvise] never`.
pub(crate) fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    word(rest.split_once(']')?.0)
}

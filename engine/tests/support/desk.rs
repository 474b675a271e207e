//! The program as scripts meet it: run in a folder of its own, told to stop, heard out.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tempfile::TempDir;

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_quorumbench");
/// How long a program may take on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a config in it, and the program run there.
pub struct Desk {
    pub folder: TempDir,
}

impl Desk {
    pub fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("x.toml"), config).expect("written");
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().expect("the program can be run").into()
    }

    /// The only run in a folder of results.
    pub fn only_run(&self, results: &str) -> PathBuf {
        let runs = fs::read_dir(self.path(results)).expect("results");
        let runs: Vec<_> = runs.map(|run| run.expect("readable").path()).collect();
        let [run] = &runs[..] else { panic!("one run: {runs:?}") };
        run.clone()
    }
}

/// What a program that ended had to say.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// One message, and nothing on standard output.
pub fn fails(said: &Said, code: i32, parts: &[&str]) {
    assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{said:?}");
    assert_eq!(said.err.matches("error: ").count(), 1, "one clear message: {}", said.err);
    parts.iter().for_each(|part| assert!(said.err.contains(part), "no {part:?} in {}", said.err));
    assert!(!said.err.contains("panicked"), "{}", said.err);
}

/// Sends a signal to a child that runs.
pub fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it runs");
}

/// Waits for a child's end; one that hangs is ended, and the test with it.
pub fn end(mut child: Child) -> Said {
    let begin = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if begin.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("it did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("it has ended").into()
}

/// The only document in a text.
pub fn whole(document: &str) -> Json {
    let mut documents = serde_json::Deserializer::from_str(document).into_iter::<Json>();
    let first = documents.next().expect("a document").expect("JSON");
    assert!(documents.next().is_none(), "and nothing else");
    first
}

//! Style as a test: what the compiler does not check, and no reviewer should have to.

use std::path::{Path, PathBuf};
use std::process::Command;

use quorumbench::spec::question;

const MOST_LINES: usize = 600;
/// The files that may talk to the kernel without the compiler's help.
const KERNEL: [&str; 2] = ["transports/src/tun.rs", "transports/src/uring/ring.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every tracked text file: its path in the repository, and its text. None outside of a repository,
/// where there is nothing to keep tidy.
fn tracked() -> Vec<(String, String)> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Some(listed) = listed.ok().filter(|listed| listed.status.success()) else {
        println!("skipped: this is no git repository");
        return Vec::new();
    };
    let paths = String::from_utf8(listed.stdout).expect("UTF-8");
    let paths = paths.split('\0').filter(|path| !path.is_empty());
    // A file may be deleted and not yet committed, or no text.
    paths.filter_map(|path| Some((path.to_owned(), std::fs::read_to_string(root().join(path)).ok()?))).collect()
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

fn sources() -> Vec<(String, String)> {
    let in_src = |path: &str| is_rust(path) && path.split('/').any(|part| part == "src");
    tracked().into_iter().filter(|(path, _)| in_src(path)).collect()
}

/// `path:line` of every line that `is_bad`.
fn lines_that(files: &[(String, String)], is_bad: impl Fn(&str) -> bool) -> Vec<String> {
    let numbered =
        files.iter().flat_map(|(path, text)| (1..).zip(text.lines()).map(move |(at, line)| (path, at, line)));
    numbered.filter(|(.., line)| is_bad(line)).map(|(path, at, line)| format!("{path}:{at}: {}", line.trim())).collect()
}

fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

#[test]
fn files_are_short_and_say_what_they_are() {
    for (path, text) in sources() {
        assert!(text.lines().count() <= MOST_LINES, "{path} has more than {MOST_LINES} lines: split it");
        assert!(text.starts_with("//! "), "{path} does not begin with what it is");
    }
}

#[test]
fn unsafe_is_where_the_kernel_is() {
    let others: Vec<_> = sources().into_iter().filter(|(path, _)| !KERNEL.contains(&path.as_str())).collect();
    // The keyword, not the word in a sentence.
    let forms = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait", "unsafe("];
    let keyword = |line: &str| forms.iter().any(|form| code_of(line).contains(form));
    assert_eq!(lines_that(&others, keyword), [""; 0]);
}

#[test]
fn nothing_is_left_for_later() {
    let rust: Vec<_> = tracked().into_iter().filter(|(path, _)| is_rust(path)).collect();
    let left = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];
    assert_eq!(lines_that(&rust, |line| left.iter().any(|word| line.contains(word))), [""; 0]);
}

#[test]
fn no_line_ends_in_space_and_every_file_in_a_line() {
    // What others have published stays as they did.
    let files: Vec<_> = tracked().into_iter().filter(|(path, _)| !path.contains("/vendor/")).collect();
    assert_eq!(lines_that(&files, |line| line.ends_with([' ', '\t', '\r'])), [""; 0]);
    for (path, text) in &files {
        assert!(text.is_empty() || text.ends_with('\n'), "{path} does not end with its last line");
    }
}

#[test]
fn no_path_leads_to_somebodys_machine() {
    let folders = ["home", "root", "tmp", "work"].map(|name| format!("/{name}/"));
    let absolute = |line: &str| {
        folders.iter().any(|folder| {
            let follows_a_name = |at: usize| line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}".contains(c));
            line.match_indices(folder.as_str()).any(|(at, _)| !follows_a_name(at))
        })
    };
    assert_eq!(lines_that(&tracked(), absolute), [""; 0]);
}

#[test]
fn every_bundled_config_asks_a_question_first() {
    let configs: Vec<_> = tracked().into_iter().filter(|(path, _)| path.starts_with("bench-configs/")).collect();
    for (path, text) in configs {
        assert!(text.starts_with("# ") && question(&text).is_some_and(|line| line.contains('?')), "{path}");
    }
}

/// The names under `[dependencies]`, those of a platform included. What only a feature asks for is not among them.
fn dependencies(package: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(package).join("Cargo.toml")).expect("a manifest");
    let mut inside = false;
    let mut names = Vec::new();
    for line in text.lines() {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            assert!(
                !section.contains("dependencies."),
                "{package}: a line a dependency, so that this test can read it"
            );
            inside = section == "dependencies" || section.ends_with(".dependencies");
        } else if inside && !line.starts_with('#') && line.contains('=') && !line.contains("optional = true") {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            names.push(name.to_owned());
        }
    }
    names
}

#[test]
fn the_arrows_between_the_crates_point_one_way() {
    assert_eq!(dependencies("protocols"), ["bytes", "zerocopy"]);
    let transports = dependencies("transports");
    assert!(
        transports.contains(&"quorumbench-protocols".to_owned()) && !transports.contains(&"quorumbench".to_owned())
    );
    let engine = dependencies("engine");
    assert!(
        ["quorumbench-protocols", "quorumbench-transports"].iter().all(|name| engine.contains(&(*name).to_owned()))
    );
}

/// The commands in a page's `sh` blocks, without their comments.
fn commands(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside && !line.trim_start().starts_with('#') {
            let command = line.split(" #").next().unwrap_or_default().trim();
            commands.extend((!command.is_empty()).then(|| command.to_owned()));
        }
    }
    commands
}

/// Does as the reader of a page would, but for what takes long.
fn try_out(command: &str) -> Result<(), String> {
    let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
    match &words[..] {
        ["cargo", "run", "--release", "--", arguments @ ..] | ["quorumbench", arguments @ ..] => {
            let mut program = Command::new(env!("CARGO_BIN_EXE_quorumbench"));
            let few = |at: usize| at > 0 && arguments[at - 1] == "--seeds";
            let arguments: Vec<_> = (0..arguments.len()).map(|at| if few(at) { "2" } else { arguments[at] }).collect();
            program.args(&arguments).current_dir(root());
            if arguments.first() == Some(&"run") {
                program.arg("--dry-run");
            }
            let output = program.output().map_err(|error| error.to_string())?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            output.status.success().then_some(()).ok_or(said)
        }
        ["cargo", "bench", "-p", package, "--bench", bench, ..] => {
            let folder = match *package {
                "quorumbench" => "engine",
                package => package.trim_start_matches("quorumbench-"),
            };
            let benches = root().join(folder).join("benches");
            let there =
                [format!("{bench}.rs"), format!("{bench}/main.rs")].iter().any(|name| benches.join(name).exists());
            there.then_some(()).ok_or_else(|| format!("{package} has no bench {bench}"))
        }
        ["cargo", "test" | "build" | "clippy" | "fmt" | "doc" | "install", ..] => Ok(()),
        [script, ..] if script.contains('/') => {
            root().join(script).exists().then_some(()).ok_or_else(|| format!("there is no {script}"))
        }
        _ => Err("a command that this test does not know how to try".into()),
    }
}

#[test]
fn the_commands_of_the_pages_work() {
    // Pages write there, and a build need not have made it.
    std::fs::create_dir_all(root().join("target")).expect("a folder for what is made");
    for (path, text) in tracked().iter().filter(|(path, _)| path.ends_with("README.md")) {
        for command in commands(text) {
            if let Err(error) = try_out(&command) {
                panic!("{path}: `{command}`: {error}");
            }
        }
    }
}

/// `UPDATE=1` puts it there: `scripts/reference.sh` does, after it has taken the run anew.
#[test]
fn the_readme_has_the_table_of_the_reference_run() {
    const MARK: &str = "<!-- results/reference/quickstart/table.txt -->\n```text\n";
    let (readme, table) = (root().join("README.md"), root().join("results/reference/quickstart/table.txt"));
    let table = std::fs::read_to_string(table).expect("the reference run's table");
    let text = std::fs::read_to_string(&readme).expect("a README");
    let (before, after) = text.split_once(MARK).expect("the mark, and a block of text");
    let (shown, after) = after.split_once("```\n").expect("the block's end");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&readme, format!("{before}{MARK}{}\n```\n{after}", table.trim_end())).expect("written");
    } else {
        assert_eq!(shown.trim_end(), table.trim_end(), "run this with UPDATE=1");
    }
}

//! Every mistake that a config can have, and what is said about it, word for word.
//!
//! The cases are in `data/spec_errors.txt`; `UPDATE=1 cargo test --test spec_errors` rewrites what is said.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use quorumbench::spec::{Spec, SpecError};

/// `=== title`, the config, `--- set` with an override each, `--- error`, and the error.
#[derive(Debug, Default)]
struct Case {
    title: String,
    config: String,
    overrides: Vec<String>,
    error: String,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut in_error = false;
    for line in text.lines().skip_while(|line| !line.starts_with("=== ")) {
        if let Some(title) = line.strip_prefix("=== ") {
            cases.push(Case { title: title.to_owned(), ..Case::default() });
            in_error = false;
            continue;
        }
        let case = cases.last_mut().expect("a file of cases starts with a title");
        if let Some(set) = line.strip_prefix("--- set ") {
            case.overrides.push(set.to_owned());
        } else if line == "--- error" {
            in_error = true;
        } else {
            let part = if in_error { &mut case.error } else { &mut case.config };
            *part += line;
            *part += "\n";
        }
    }
    cases
}

fn said(case: &Case) -> String {
    match Spec::parse(&case.config, "x.toml", &case.overrides) {
        Ok(spec) => format!("none: {} points\n", spec.points().len()),
        Err(error) => format!("{error}\n"),
    }
}

#[test]
fn every_mistake_is_named_and_placed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/spec_errors.txt");
    let text = fs::read_to_string(&path).expect("the cases");
    let cases = cases(&text);
    if std::env::var_os("UPDATE").is_some() {
        let mut rewritten = text[..text.find("=== ").expect("a case")].to_owned();
        for case in &cases {
            write!(rewritten, "=== {}\n{}", case.title, case.config).expect("a string");
            case.overrides.iter().for_each(|set| writeln!(rewritten, "--- set {set}").expect("a string"));
            write!(rewritten, "--- error\n{}", said(case)).expect("a string");
        }
        fs::write(&path, rewritten).expect("writable");
        return;
    }
    for case in &cases {
        assert_eq!(said(case), case.error, "\n{}\n{}", case.title, said(case));
    }
}

fn error(text: &str, overrides: &[&str]) -> SpecError {
    let overrides: Vec<_> = overrides.iter().map(|each| (*each).to_owned()).collect();
    Spec::parse(text, "x.toml", &overrides).expect_err("a mistake")
}

#[test]
fn fields_say_the_same() {
    let error = error("name = 'x'\n[load]\n  payload = 64\n", &[]);
    assert_eq!((error.file.as_str(), error.line, error.column), ("x.toml", 3, 13));
    assert_eq!(error.key.as_deref(), Some("load.payload"));
    assert_eq!(error.message, "`load.payload` needs a unit, and 64 has none");
    assert_eq!(error.help.as_deref(), Some("for example `payload = \"64B\"`"));
}

#[test]
fn long_texts_are_cut() {
    let long = "y".repeat(10_000);
    let texts = [
        format!("name = '{long}'"),
        format!("name = 'x'\n{long} = 1"),
        format!("name = 'x'\n[{long}]"),
        format!("name = 'x'\n[load]\n{long} = 1"),
        format!("name = 'x'\n[load]\npayload = '1{long}'"),
        format!("name = 'x'\n[load]\npayload = {}", "9".repeat(10_000)),
        format!("name = 'x'\n[load]\nrate = {}.5", "9".repeat(10_000)),
        format!("name = 'x'\n[load]\nkeys = '{long}'"),
        format!("name = 'x'\n[cluster]\nprotocol = ['raft', '{long}']"),
        format!("name = 'x' {long}"),
    ];
    for text in &texts {
        let shown = error(text, &[]).to_string();
        assert!(shown.len() < 600, "{shown}");
    }
    for set in [format!("{long}=1"), format!("payload={long}"), long] {
        let shown = error("name = 'x'", &[&set]).to_string();
        assert!(shown.len() < 600, "{shown}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let folder = std::env::temp_dir().join(format!("quorumbench-spec-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let load = |name: &str| Spec::load(&folder.join(name), &[]).expect_err("unreadable");
    let shown = |error: &SpecError| error.to_string().replace(&*folder.to_string_lossy(), "DIR");

    let missing = load("missing.toml");
    assert_eq!(shown(&missing), "DIR/missing.toml:1:1: cannot read the config: No such file or directory (os error 2)");

    fs::write(folder.join("latin.toml"), b"name = 'x'\n# caf\xe9\n").expect("written");
    let expected = "DIR/latin.toml:2:6: not valid UTF-8; TOML is UTF-8 throughout\n  |\n2 | # caf\u{fffd}\n  |      ^";
    assert_eq!(shown(&load("latin.toml")), expected);

    assert!(shown(&load("")).contains("cannot read the config"), "a folder");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn experiments_have_a_size() {
    let list = |count: usize| (1..=count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let fits = format!("name='x'\nbatch.commands=[{}]\nbatch.window=[{}]", list(100), list(100));
    assert_eq!(Spec::parse(&fits, "x.toml", &[]).map(|spec| spec.points().len()), Ok(10_000));
    let error = error(&format!("name='x'\nbatch.commands=[{}]\nbatch.window=[{}]", list(101), list(100)), &[]);
    assert_eq!(error.message, "more than 10000 points: 101 commands x 100 window");
    assert_eq!((error.line, error.column, error.key.as_deref()), (2, 16, Some("batch.commands")));
}

//! This program itself.

use super::Finding;

pub(super) fn findings(commit: &str, debug: bool) -> Vec<Finding> {
    let profile = if debug {
        Finding::warn("build.profile", "built without optimisation")
            .costs("everything takes several times as long, and not in proportion: no figure means anything")
            .todo("cargo build --release")
    } else {
        Finding::ok("build.profile", "built with optimisation")
    };
    let tree = if commit.is_empty() {
        Finding::unknown("build.commit", "built outside of a repository")
    } else if let Some(commit) = commit.strip_suffix("-dirty") {
        Finding::note("build.commit", format!("built from {commit} and changes that no commit has"))
            .costs("nobody can build the same again, so nobody can check the figures")
            .todo("git commit, and build again")
    } else {
        Finding::ok("build.commit", format!("built from {commit}"))
    };
    vec![profile, tree]
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn what_nobody_can_build_again_is_noted() {
        let levels = |commit, debug| findings(commit, debug).iter().map(|finding| finding.level).collect::<Vec<_>>();
        assert_eq!(levels("abc", false), [Level::Ok, Level::Ok]);
        assert_eq!(levels("abc-dirty", true), [Level::Warn, Level::Note]);
        assert_eq!(levels("", false), [Level::Ok, Level::Unknown]);
    }
}

//! The page: one file, with the document, the style and the scripts in it, and a policy that forbids it the network.

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::document::Document;

/// uPlot 1.6.32, by Leon Sorokin, under the MIT licence. `vendor/` has that, and what the files' hashes are.
const LIBRARY: &str = include_str!("vendor/uPlot.iife.min.js");
const LIBRARY_STYLE: &str = include_str!("vendor/uPlot.min.css");
const SCRIPT: &str = include_str!("app.js");
const STYLE: &str = include_str!("style.css");

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    policy: String,
    version: &'a str,
    title: &'a str,
    library_style: &'a str,
    style: &'a str,
    document: String,
    library: &'a str,
    script: &'a str,
}

/// The page of a document.
pub(super) fn html(document: &Document) -> String {
    let page = Page {
        policy: policy(),
        version: env!("CARGO_PKG_VERSION"),
        title: &document.title,
        library_style: LIBRARY_STYLE,
        style: STYLE,
        document: inline(&serde_json::to_string(document).expect("a document has no keys but strings")),
        library: LIBRARY,
        script: SCRIPT,
    };
    page.render().expect("a String takes everything")
}

/// Nothing is loaded, and only the scripts and styles of this program are run.
fn policy() -> String {
    let hashes =
        |texts: [&str; 2]| texts.map(|text| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))).join(" ");
    let (scripts, styles) = (hashes([LIBRARY, SCRIPT]), hashes([LIBRARY_STYLE, STYLE]));
    format!("default-src 'none'; script-src {scripts}; style-src {styles}; base-uri 'none'; form-action 'none'")
}

/// JSON that no name in it can end: HTML knows no escapes inside of a script, JSON does.
fn inline(json: &str) -> String {
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn nothing_inside_ends_its_element() {
        for script in [LIBRARY, SCRIPT] {
            assert!(!script.contains("</script") && !script.contains("<!--"));
        }
        for style in [LIBRARY_STYLE, STYLE] {
            assert!(!style.contains("</style"));
        }
        assert_eq!(inline("[\"</script>\"]"), "[\"\\u003c/script>\"]");
    }

    #[test]
    fn the_library_is_what_was_published() {
        let files: [(&str, &[u8]); 3] = [
            ("LICENSE", include_bytes!("vendor/LICENSE")),
            ("uPlot.iife.min.js", LIBRARY.as_bytes()),
            ("uPlot.min.css", LIBRARY_STYLE.as_bytes()),
        ];
        let mut sums = String::new();
        for (name, bytes) in files {
            for byte in Sha256::digest(bytes) {
                let _ = write!(sums, "{byte:02x}");
            }
            let _ = writeln!(sums, "  {name}");
        }
        assert_eq!(sums, include_str!("vendor/SHA256SUMS"));
    }
}

//! The rules of the house, read off the sources: who may use whom, which names belong to one place, how long things get.
//!
//! Each rule is a function from one source file to what is wrong with it, and each is tried on a small example that
//! breaks it, so that no rule stops working unseen. Test code (`tests.rs`, `tests/`, items behind `#[cfg(test)]`) may
//! use what it likes and be as long as it likes; it is not exempt from the rules about text.

#[path = "tidy/examples.rs"]
mod examples;
#[path = "tidy/source.rs"]
mod source;

use std::{fmt::Write as _, fs};

use source::{Source, all_sources, closing, is_name, root, tokens};

/// Which modules of the crate a module may name beside itself and `error`; docs/architecture.md explains the floors.
const MODULES: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("error", &["units"]),
    ("sync", &[]),
    ("seeded_bugs", &[]),
    ("geometry", &["units"]),
    ("codec", &["units"]),
    ("merkle", &["units"]),
    ("format", &["units", "geometry", "merkle"]),
    ("plan", &["units", "geometry", "merkle", "codec"]),
    ("storage", &["units"]),
    ("volume", &["sync", "units", "format", "storage", "seeded_bugs"]),
    (
        "journal",
        &["units", "format", "merkle", "storage", "seeded_bugs"],
    ),
    ("buffer", &["sync", "units"]),
    ("host", &["units", "storage"]),
    (
        "catalog",
        &["units", "geometry", "merkle", "plan", "storage", "seeded_bugs"],
    ),
    (
        "archive",
        &[
            "sync",
            "units",
            "geometry",
            "codec",
            "merkle",
            "format",
            "plan",
            "storage",
            "volume",
            "journal",
            "buffer",
            "host",
            "catalog",
            "seeded_bugs",
        ],
    ),
];

/// Names that belong to a few places: the names, the places, and why.
const PLACES: &[(&[&str], &[&str], &str)] = &[
    (
        &["std::fs", "std::os::unix::fs", "rustix::fs"],
        &["storage", "host", "cli", "fault-injection", "compare"],
        "files are touched in few places",
    ),
    (
        &["std::thread"],
        &["archive::team", "host::clock", "fault-injection", "compare"],
        "parallelism is rayon, in archive, and one team for each operation; to wait is for the clock",
    ),
    (
        &["std::time::Instant", "std::time::SystemTime"],
        &["host::clock", "cli", "fault-injection", "compare"],
        "time comes in through a clock",
    ),
    (
        &["rand", "fastrand", "getrandom", "rustix::rand"],
        &["host::random"],
        "random bytes come from the host",
    ),
    (
        &["std::env", "std::process"],
        &["host", "cli", "fault-injection", "compare"],
        "a library asks its caller, not its surroundings",
    ),
    (
        &["std::net", "tokio", "async_std", "smol", "futures"],
        &[],
        "the core is local and synchronous",
    ),
    (
        &["redb", "postcard"],
        &["catalog"],
        "the catalog alone knows its database",
    ),
    (
        &["reed_solomon_simd"],
        &["codec"],
        "the codec alone knows its code",
    ),
    (
        &["blake3"],
        &["merkle", "cli", "compare"],
        "hashing follows the tree of the file",
    ),
    (
        &["crc32fast"],
        &["format", "catalog"],
        "checksums guard records and rows only",
    ),
    (&["memmap2"], &["buffer"], "anonymous memory only, never a file"),
    (
        &["rayon"],
        &["archive"],
        "the roof alone decides what runs beside what",
    ),
    (
        &["clap", "anyhow", "serde_json"],
        &["cli", "compare"],
        "the library knows no terminal",
    ),
];

/// Harmless parts of what [`PLACES`] names.
const HARMLESS: &[&str] = &[
    "std::thread::available_parallelism",
    "std::thread::panicking",
    "std::thread::yield_now",
];

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

/// Files that are too long still, and how long they may be; an entry that is not needed any more fails.
const TOO_LONG_STILL: &[(&str, usize)] = &[];

/// A rule: its name, and what it finds wrong with a file.
type Rule = (&'static str, fn(&Source) -> Vec<String>);

const RULES: &[Rule] = &[
    ("modules", modules),
    ("places", places),
    ("file length", file_length),
    ("function length", function_length),
    ("attributes", attributes),
    ("unfinished", unfinished),
    ("ascii", ascii),
];

#[test]
fn the_sources_keep_the_rules_of_the_house() {
    let sources = all_sources();
    assert!(sources.len() > 80, "only {} sources were found", sources.len());
    let mut report = String::new();
    for source in &sources {
        for (rule, check) in RULES {
            for offence in check(source) {
                writeln!(report, "{} [{rule}]: {offence}", source.path).expect("memory takes any text");
            }
        }
    }
    assert!(report.is_empty(), "the rules are broken:\n{report}");
}

#[test]
fn every_module_has_an_invariant_in_the_architecture() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).expect("the page is there");
    for (module, _) in MODULES {
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("* `{module}`")))
            .unwrap_or_else(|| panic!("docs/architecture.md has no line for {module}"));
        assert!(line.contains("Invariant:"), "{module} has no invariant: {line}");
    }
}

#[test]
fn the_example_of_the_readme_is_the_one_that_the_crate_compiles() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the page is there");
    let library = fs::read_to_string(root().join("src/lib.rs")).expect("the crate is there");
    let example = readme
        .split("```rust\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let lines: Vec<&str> = example.expect("README.md has an example").lines().collect();
    assert!(lines.len() > 8, "the example is {} lines", lines.len());
    for line in lines {
        let compiled = format!("//! {line}");
        assert!(
            library.lines().any(|found| found == compiled.trim_end()),
            "not in the crate: {line}"
        );
    }
}

#[test]
fn bugs_that_tests_switch_on_are_asked_for_by_tests_alone() {
    let allowed = [
        ("Cargo.toml", "[features]"),
        ("fault-injection/Cargo.toml", "[dev-dependencies]"),
    ];
    for manifest in ["Cargo.toml", "cli/Cargo.toml", "fault-injection/Cargo.toml"] {
        let text = fs::read_to_string(root().join(manifest)).expect("a member has a manifest");
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line;
            }
            assert!(
                !line.contains("seeded-bugs") || allowed.contains(&(manifest, section)),
                "{manifest}, {section}: {line}"
            );
        }
    }
}

#[test]
fn a_list_of_long_files_names_long_files_only() {
    for (path, _) in TOO_LONG_STILL {
        let source = Source::new(
            path,
            fs::read_to_string(root().join(path)).expect("a listed file is there"),
        );
        assert!(
            source.line_count() > MAX_FILE_LINES,
            "{path} is short enough now, take it off the list"
        );
    }
}

/// `crate::` and `super::` lead down the floors only.
fn modules(source: &Source) -> Vec<String> {
    let here = source.module();
    let own = match here.first() {
        Some(own) if source.path.starts_with("src/") && source.path != "src/lib.rs" => own.as_str(),
        _ => return Vec::new(),
    };
    let Some((_, allowed)) = MODULES.iter().find(|(module, _)| *module == own) else {
        return vec![format!("module {own} is not in the table of modules")];
    };
    let leads_to = |path: &str| {
        let parts: Vec<&str> = path.split("::").collect();
        let ups = parts.iter().take_while(|part| **part == "super").count();
        let reaches_root = parts[0] == "crate" || ups >= here.len();
        let target = if parts[0] == "crate" {
            parts.get(1)
        } else {
            parts.get(ups)
        };
        reaches_root.then(|| target.copied().unwrap_or("*").to_owned())
    };
    let is_offence =
        |target: &String| target != own && target != "error" && !allowed.contains(&target.as_str());
    source
        .paths()
        .into_iter()
        .filter_map(|(line, path)| Some((line, leads_to(&path).filter(is_offence)?)))
        .map(|(line, target)| format!("line {line}: {own} may not use {target}"))
        .collect()
}

/// Some names belong to few places.
fn places(source: &Source) -> Vec<String> {
    let here = source.module().join("::");
    let is_below = |path: &str, top: &str| path == top || path.starts_with(&format!("{top}::"));
    let mut offences = Vec::new();
    for (line, path) in source.paths() {
        for (names, places, why) in PLACES {
            if names.iter().any(|name| is_below(&path, name))
                && !places.iter().any(|place| is_below(&here, place))
                && !HARMLESS.contains(&path.as_str())
            {
                offences.push(format!("line {line}: {path}: {why}"));
            }
        }
    }
    offences
}

fn file_length(source: &Source) -> Vec<String> {
    let limit = TOO_LONG_STILL
        .iter()
        .find(|(path, _)| *path == source.path)
        .map_or(MAX_FILE_LINES, |(_, limit)| *limit);
    let lines = source.line_count();
    if lines > limit {
        vec![format!("{lines} lines without tests, {limit} are the most")]
    } else {
        Vec::new()
    }
}

/// From the line of `fn` to the closing brace. Tests may be long tables; clippy counts their code lines.
fn function_length(source: &Source) -> Vec<String> {
    let tokens = tokens(&source.untested);
    let mut offences = Vec::new();
    for (index, pair) in tokens.windows(2).enumerate() {
        if pair[0].text != "fn" || !is_name(pair[1].text) {
            continue;
        }
        let rest = &tokens[index..];
        let Some(open) = rest.iter().position(|token| token.text == "{") else {
            continue;
        };
        // `[u8; 2]` in a signature ends nothing; a `;` outside brackets does: a method without a body.
        let mut brackets = 0_i32;
        let has_no_body = rest[..open].iter().any(|token| {
            brackets += i32::from(token.text == "[") - i32::from(token.text == "]");
            token.text == ";" && brackets == 0
        });
        if has_no_body {
            continue;
        }
        let close = closing(rest, open);
        let lines = close.line - rest[0].line + 1;
        if lines > MAX_FUNCTION_LINES {
            offences.push(format!(
                "line {}: fn {} has {lines} lines",
                rest[0].line, pair[1].text
            ));
        }
    }
    offences
}

/// Exceptions explain themselves, so `expect` with a reason it is.
fn attributes(source: &Source) -> Vec<String> {
    tokens(&source.code)
        .windows(3)
        .filter(|run| ["#", "!"].contains(&run[0].text) && run[1].text == "[" && run[2].text == "allow")
        .map(|run| format!("line {}: an attribute that allows a lint", run[0].line))
        .collect()
}

/// Nothing waits to be written. Words in comments count.
fn unfinished(source: &Source) -> Vec<String> {
    let in_code = source
        .code
        .lines()
        .zip(1..)
        .filter(|(line, _)| line.contains("todo!"));
    let in_text = source.text.lines().zip(1..);
    let in_text = in_text.filter(|(line, _)| line.contains("TODO") || line.contains("FIXME"));
    in_code
        .chain(in_text)
        .map(|(line, number)| format!("line {number}: {}", line.trim()))
        .collect()
}

fn ascii(source: &Source) -> Vec<String> {
    let lines = source.text.lines().zip(1..).filter(|(line, _)| !line.is_ascii());
    lines
        .map(|(_, number)| format!("line {number} is not ASCII"))
        .collect()
}

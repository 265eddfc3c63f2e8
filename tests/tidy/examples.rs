//! Small sources that break one rule each, and sound ones that break none.

use super::{MAX_FILE_LINES, RULES, source::Source};

#[test]
fn every_rule_finds_what_breaks_it_and_nothing_else_does() {
    let offenders = offenders();
    for (broken, path, text) in &offenders {
        let source = Source::new(path, text.clone());
        for (rule, check) in RULES {
            let found = check(&source);
            assert_eq!(
                !found.is_empty(),
                rule == broken,
                "rule {rule} on an example that breaks {broken}:\n{text}\n{found:?}"
            );
        }
    }
    for (rule, _) in RULES {
        assert!(
            offenders.iter().any(|(broken, ..)| broken == rule),
            "{rule} has no example"
        );
    }
}

#[test]
fn sound_sources_break_no_rule() {
    let sound = [
        (
            "src/storage/machine.rs",
            "use std::fs::File;\nuse crate::{error::VolumeError, units::to_u64};\n",
        ),
        (
            "src/merkle/tests.rs",
            "use std::{fs, thread};\nuse crate::catalog::Catalog;\n",
        ),
        (
            "src/plan/strips.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::volume::x;\n    fn g() { std::fs::read(\"}\"); }\n}\n",
        ),
        (
            "src/plan/strips.rs",
            "/// See [`crate::volume`] and std::fs.\nconst A: &str = \"std::fs::read\";\n",
        ),
        (
            "src/plan/strips.rs",
            "/* std::fs::read /* nested */ crate::volume::f() */ fn f<'a>(_: &'a str) {}\n",
        ),
        (
            "src/plan/strips.rs",
            "const A: (char, char) = ('\"', '\\''); const B: &str = r#\"std::fs::x \"# ;\n",
        ),
        (
            "src/volume/local/handles.rs",
            "use super::super::ExtentStat;\nuse super::layout;\n",
        ),
        (
            "src/archive/shared.rs",
            "fn f() { std::thread::available_parallelism(); }\n",
        ),
        ("src/host/clock.rs", "use std::time::{SystemTime, UNIX_EPOCH};\n"),
        (
            "cli/src/main.rs",
            "use std::{fs, env};\nuse anyhow::Result;\nfn f() { bfdb::catalog::f(); }\n",
        ),
    ];
    for (path, text) in sound {
        for (rule, check) in RULES {
            assert_eq!(
                check(&Source::new(path, text.to_owned())),
                [""; 0],
                "{rule} on\n{text}"
            );
        }
    }
}

/// A rule, a file that breaks it, and nothing else.
const BREAKS: &[(&str, &str, &str)] = &[
    (
        "modules",
        "src/geometry/file.rs",
        "use crate::{units::LeafLen, merkle::RootHash};\n",
    ),
    ("modules", "src/codec/mod.rs", "use super::geometry::Policy;\n"),
    (
        "modules",
        "src/volume/local/mod.rs",
        "fn f() { super::super::catalog::f(); }\n",
    ),
    (
        "modules",
        "src/catalog/mod.rs",
        "fn f(_: &crate::volume::MemoryVolume) {}\n",
    ),
    ("modules", "src/host/mod.rs", "use crate::Archive;\n"),
    ("modules", "src/surprise.rs", "fn f() {}\n"),
    ("places", "src/plan/layout.rs", "use std::{fmt, fs::File};\n"),
    ("places", "src/volume/memory.rs", "use rustix::fs;\n"),
    (
        "places",
        "src/archive/scrub.rs",
        "fn f() { std::thread::spawn(|| ()); }\n",
    ),
    ("places", "src/archive/scrub.rs", "use std::thread;\n"),
    (
        "places",
        "src/host/space.rs",
        "use std::time::{Duration, Instant};\n",
    ),
    ("places", "src/catalog/writer.rs", "use rayon::prelude::*;\n"),
    ("places", "src/archive/mod.rs", "fn f(_: redb::Database) {}\n"),
    ("places", "cli/src/main.rs", "use reed_solomon_simd as code;\n"),
    (
        "attributes",
        "src/units/ids.rs",
        "#[allow(dead_code)]\nfn f() {}\n",
    ),
    ("attributes", "cli/src/main.rs", "#![allow( dead_code )]\n"),
    ("unfinished", "src/units/ids.rs", "fn f() { todo!() }\n"),
    ("unfinished", "src/units/ids.rs", "// FIXME\n"),
    (
        "unfinished",
        "fault-injection/src/lib.rs",
        "/// TODO: more\nfn f() {}\n",
    ),
    ("ascii", "src/units/ids.rs", "// caf\u{e9}\n"),
];

/// All of [`BREAKS`], and what is too long to be written down.
fn offenders() -> Vec<(&'static str, &'static str, String)> {
    let short = BREAKS
        .iter()
        .map(|(rule, path, text)| (*rule, *path, (*text).to_owned()));
    let file = "const A: u8 = 0;\n".repeat(MAX_FILE_LINES + 1);
    let function = format!(
        "fn long<T>() -> [u8; 1]\nwhere\n    T: Copy,\n{{\n{}}}\n",
        "    f();\n".repeat(66)
    );
    let long = [("file length", file), ("function length", function)];
    short
        .chain(long.map(|(rule, text)| (rule, "src/units/ids.rs", text)))
        .collect()
}

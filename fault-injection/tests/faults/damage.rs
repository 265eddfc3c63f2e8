//! The program `bfdb-damage`, as a person at a terminal meets it.

#![expect(clippy::disallowed_methods, reason = "these tests look at files directly")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn damage(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bfdb-damage"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn done(arguments: &[&str]) -> String {
    let output = damage(arguments);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

fn archive() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let extents = dir.path().join("volumes/v0/extents");
    fs::create_dir_all(&extents).expect("directories");
    let path = extents.join("00000001.bfx");
    fs::write(&path, [7; 100]).expect("a file");
    (dir, path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

#[test]
fn every_command_does_what_it_says() {
    let (dir, path) = archive();
    let name = text(&path);
    assert_eq!(done(&["list", text(dir.path())]), format!("{name}\n"));
    done(&["flip", name, "3"]);
    done(&["zero", name, "10..20"]);
    let bytes = fs::read(&path).expect("readable");
    let changed: Vec<usize> = (0..100).filter(|&index| bytes[index] != 7).collect();
    assert_eq!(changed, [3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    assert_eq!((bytes[3], bytes[10]), (7 ^ 0xFF, 0));

    let offset: usize = done(&["flip-random", name, "--seed", "9"])
        .trim()
        .parse()
        .expect("an offset");
    let after = fs::read(&path).expect("readable");
    assert_eq!(
        (0..100)
            .filter(|&index| after[index] != bytes[index])
            .collect::<Vec<_>>(),
        [offset]
    );
    done(&["flip-random", name, "--seed", "9"]);
    assert_eq!(
        fs::read(&path).expect("readable"),
        bytes,
        "the same seed does the same flip again"
    );

    done(&["truncate", name, "42"]);
    assert_eq!(fs::metadata(&path).expect("it is there").len(), 42);
    done(&["delete", name]);
    assert!(!path.exists(), "it was deleted");
}

#[test]
fn a_command_line_that_is_not_understood_changes_nothing_and_shows_the_usage() {
    let (_dir, path) = archive();
    let name = text(&path);
    let wrong: [&[&str]; 10] = [
        &[],
        &["flip", name],
        &["flip", name, "-1"],
        &["flip", name, "1", "2"],
        &["flip-random", name],
        &["flip-random", name, "--seed", "x"],
        &["zero", name, "5"],
        &["zero", name, "20..10"],
        &["delete"],
        &["destroy", name],
    ];
    for arguments in wrong {
        let output = damage(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("usage: bfdb-damage"),
            "{arguments:?}"
        );
    }
    assert_eq!(fs::read(&path).expect("readable"), [7; 100]);
}

#[test]
fn damage_that_cannot_be_done_is_an_error() {
    let (_dir, path) = archive();
    let name = text(&path);
    let impossible: [&[&str]; 5] = [
        &["flip", name, "100"],
        &["zero", name, "90..101"],
        &["truncate", name, "100"],
        &["delete", "/nonexistent/file"],
        &["list", "/nonexistent"],
    ];
    for arguments in impossible {
        let output = damage(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?} failed without a word");
    }
    assert_eq!(fs::read(&path).expect("readable"), [7; 100]);
}

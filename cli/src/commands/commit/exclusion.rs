//! What is left out: patterns as in a `.gitignore`.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use bfdb::error::FileKind;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::{exit, failure::Failure, text};

/// Patterns over paths below the directory that holds a source.
pub(super) struct Exclusion {
    matcher: Gitignore,
}

impl Exclusion {
    /// Reads the patterns of `files`, then `patterns`; the last one that matches wins.
    ///
    /// # Errors
    /// A pattern that is none is a usage error that names it.
    pub(super) fn read(files: &[PathBuf], patterns: &[String]) -> Result<Self, Failure> {
        let mut builder = GitignoreBuilder::new("");
        // A bracket that is not closed is a slip of the pen, not a bracket.
        builder.allow_unclosed_class(false);
        for file in files {
            for line in read_lines(file)? {
                add(&mut builder, &line, &format!(" in {}", text::path(file)))?;
            }
        }
        for pattern in patterns {
            // Only a file has comments.
            let escaped = pattern.strip_prefix('#').map(|rest| format!("\\#{rest}"));
            add(&mut builder, escaped.as_deref().unwrap_or(pattern), "")?;
        }
        let matcher = builder
            .build()
            .map_err(|error| Failure::usage("the patterns of --exclude are too many").caused_by(&error))?;
        Ok(Self { matcher })
    }

    /// Says whether a path that was given is left out: itself, or a directory above it.
    pub(super) fn leaves_out_given(&self, path: &[u8], kind: FileKind) -> bool {
        !path.is_empty() && {
            let path = Path::new(OsStr::from_bytes(path));
            let matched = self
                .matcher
                .matched_path_or_any_parents(path, kind == FileKind::Directory);
            matched.is_ignore()
        }
    }

    /// Says whether a path is left out whose directory is not.
    pub(super) fn leaves_out(&self, path: &[u8], kind: FileKind) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        let matched = self.matcher.matched(path, kind == FileKind::Directory);
        matched.is_ignore()
    }
}

fn add(builder: &mut GitignoreBuilder, line: &str, place: &str) -> Result<(), Failure> {
    match builder.add_line(None, line) {
        Ok(_) => Ok(()),
        Err(error) => Err(
            Failure::usage(format!("{line}{place} is not a pattern of files to leave out")).caused_by(&error),
        ),
    }
}

fn read_lines(file: &Path) -> Result<Vec<String>, Failure> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a file of patterns is read whole and not stored"
    )]
    let read = std::fs::read(file);
    let shown = text::path(file);
    let bytes = read.map_err(|error| {
        Failure::new(exit::FAILED, format!("the patterns in {shown} cannot be read")).caused_by(&error)
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        Failure::usage(format!("the patterns in {shown} are not UTF-8")).caused_by(&error)
    })?;
    // Some editors begin a file with a mark that is no part of its first line.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclusion(patterns: &[&str]) -> Exclusion {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Exclusion::read(&[], &patterns).expect("patterns")
    }

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        for (patterns, path, kind, expected) in [
            (&["*.tmp"][..], "photos/a/b.tmp", FileKind::Regular, true),
            (
                &["*.tmp", "!keep.tmp"],
                "photos/keep.tmp",
                FileKind::Regular,
                false,
            ),
            (
                &["!keep.tmp", "*.tmp"],
                "photos/keep.tmp",
                FileKind::Regular,
                true,
            ),
            (&["cache/"], "photos/cache", FileKind::Directory, true),
            (&["cache/"], "photos/cache", FileKind::Regular, false),
            (&["/photos/raw"], "photos/raw", FileKind::Directory, true),
            (&["/photos/raw"], "x/photos/raw", FileKind::Directory, false),
            (&["photos/raw"], "x/photos/raw", FileKind::Directory, false),
            (&["**/raw"], "x/photos/raw", FileKind::Directory, true),
            (&["a?[0-9]"], "photos/ax3", FileKind::Regular, true),
            (&["#odd"], "photos/#odd", FileKind::Regular, true),
            (&["caf\u{e9}"], "photos/caf\u{e9}", FileKind::Regular, true),
        ] {
            assert_eq!(
                exclusion(patterns).leaves_out(path.as_bytes(), kind),
                expected,
                "{patterns:?} and {path}"
            );
        }
        assert!(
            exclusion(&["*.jpg"]).leaves_out(b"photos/\xff.jpg", FileKind::Regular),
            "any bytes"
        );
    }

    #[test]
    fn what_is_given_below_a_directory_that_is_left_out_is_left_out_with_it() {
        let exclusion = exclusion(&["build/"]);
        assert!(exclusion.leaves_out_given(b"x/build/a", FileKind::Regular));
        assert!(
            !exclusion.leaves_out_given(b"x/build", FileKind::Regular),
            "a file of that name"
        );
        assert!(
            !exclusion.leaves_out_given(b"", FileKind::Directory),
            "the contents of a directory without a name"
        );
    }

    #[test]
    fn a_pattern_that_is_none_is_a_usage_error_that_names_it() {
        let failure = Exclusion::read(&[], &["*".to_owned(), "[a".to_owned()])
            .err()
            .expect("no pattern");
        assert_eq!(failure.code, exit::USAGE);
        assert!(failure.message.starts_with("[a is not a pattern"), "{failure:?}");
    }
}

//! `find`: lists stored names that match a pattern.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use bfdb::{archive::Archive, catalog::Access, units::FileName};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::listing::{Detail, Listing};
use crate::{
    context::Context,
    exit,
    failure::{Failure, Meaning},
};

/// List stored names that match a pattern
///
/// A GLOB without a / is matched against the last part of each name, one with a / against the whole name. * and ? match
/// anything but a /, ** also that; [a-z] is one of these, {a,b} one or the other, \\ takes the next character as it is.
/// What matches any of several GLOBs is listed, once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb find '*.cr3'                 anywhere\n  \
    bfdb find 'photos/**/*.jpg'       anywhere below photos\n  \
    bfdb find -l '*.tmp' '*.bak'      more than the name\n\n\
    Exit codes: 0 something was found, 15 nothing matches.")]
pub(crate) struct Arguments {
    /// Patterns; quote them, so that the shell does not expand them
    #[arg(value_name = "GLOB", required = true)]
    globs: Vec<String>,
    /// Show more than the name
    #[arg(short, long)]
    long: bool,
}

/// Patterns over names.
struct Patterns {
    /// Those without a `/`.
    last_part: GlobSet,
    whole_name: GlobSet,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let patterns = Patterns::parse(&arguments.globs)?;
    context.with_archive(Access::Read, |archive| {
        find(archive, &patterns, arguments, context)
    })
}

fn find(
    archive: &Archive,
    patterns: &Patterns,
    arguments: &Arguments,
    context: &Context,
) -> Result<u8, Failure> {
    let unreadable = |error| context.catalog_failure(&error);
    let snapshot = archive.snapshot().map_err(unreadable)?;
    let detail = if arguments.long {
        Detail::Long
    } else {
        Detail::Name
    };
    let mut listing = Listing::new(context, detail);
    for entry in listing.entries(&snapshot, None) {
        context.check_interrupt()?;
        let (entry, class) = entry.map_err(unreadable)?;
        if patterns.match_name(&entry.name) {
            listing.show(&entry, class);
        }
        if context.output.is_closed() {
            return Ok(exit::SUCCESS);
        }
    }
    if listing.is_empty() {
        let message = format!("no name in this archive matches {}", arguments.globs.join(" or "));
        let failure = Failure::new(exit::NO_SUCH_NAME, message);
        return Err(context.explain(failure, Meaning::NoSuchName));
    }
    listing.finish();
    Ok(exit::SUCCESS)
}

impl Patterns {
    fn parse(globs: &[String]) -> Result<Self, Failure> {
        let mut last_part = GlobSetBuilder::new();
        let mut whole_name = GlobSetBuilder::new();
        for text in globs {
            let glob = GlobBuilder::new(text)
                .literal_separator(true)
                .backslash_escape(true)
                .build();
            let glob = glob.map_err(|error| bad_glob(text, &error))?;
            if text.contains('/') {
                whole_name.add(glob);
            } else {
                last_part.add(glob);
            }
        }
        let build = |set: &GlobSetBuilder| {
            let set = set.build();
            set.map_err(|error| bad_glob(&globs.join(" "), &error))
        };
        Ok(Self {
            last_part: build(&last_part)?,
            whole_name: build(&whole_name)?,
        })
    }

    fn match_name(&self, name: &FileName) -> bool {
        let last = name.parts().last().unwrap_or_default();
        self.last_part.is_match(OsStr::from_bytes(last))
            || self.whole_name.is_match(OsStr::from_bytes(name.as_bytes()))
    }
}

fn bad_glob(text: &str, error: &globset::Error) -> Failure {
    Failure::usage(format!("{text} is not a pattern: {}", error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stop_at_slashes_and_a_pattern_without_one_matches_the_last_part() {
        let matches = |glob: &str, name: &str| {
            let patterns = Patterns::parse(&[glob.to_owned()]).expect("a pattern");
            patterns.match_name(&name.parse().expect("a name"))
        };
        for (glob, name, expected) in [
            ("*.jpg", "a.jpg", true),
            ("*.jpg", "photos/2024/a.jpg", true),
            ("photos", "photos/a.jpg", false),
            ("photos/*.jpg", "photos/a.jpg", true),
            ("photos/*.jpg", "photos/2024/a.jpg", false),
            ("photos/**/*.jpg", "photos/2024/a.jpg", true),
            ("photos/**/*.jpg", "photos/a.jpg", true),
            ("**/raw", "x/raw", true),
            ("a?.[0-9]{x,y}", "ab.3y", true),
            ("a?.[0-9]{x,y}", "a/.3y", false),
            ("caf*", "caf\\xe9", true),
        ] {
            assert_eq!(matches(glob, name), expected, "{glob} and {name}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_a_usage_error_that_names_it() {
        for glob in ["[a", "a{b", "x/[z-a]"] {
            let failure = Patterns::parse(&["*".to_owned(), glob.to_owned()])
                .err()
                .expect("no pattern");
            assert_eq!(failure.code, exit::USAGE);
            assert!(
                failure.message.starts_with(&format!("{glob} is not a pattern: ")),
                "{failure:?}"
            );
        }
    }
}

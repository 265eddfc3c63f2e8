//! What was asked for: arguments and the lines of a list, each with the name that it, or what is below it, gets.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use bfdb::units::FileName;

use super::Arguments;
use crate::{context::Context, exit, failure::Failure, interrupt::Patient, text};

/// Something that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    /// Where it lies below the directory that patterns are about; empty where it stands for its contents.
    pub(super) below: Vec<u8>,
    /// What it is stored under; not yet checked, and empty where it stands for its contents.
    pub(super) name: Vec<u8>,
    pub(super) origin: Origin,
}

/// Who asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Argument,
    List,
}

/// A path that cannot be stored under any name, or a list that cannot be read on.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) path: PathBuf,
    pub(super) failure: Box<Failure>,
}

/// Everything that was asked for, in order: arguments, then the list, which is read as it goes.
pub(super) type Roots<'a> = Box<dyn Iterator<Item = Result<Root, Unnamed>> + 'a>;

/// Returns everything that was asked for.
///
/// # Errors
/// That the list cannot be opened.
pub(super) fn of<'a>(arguments: &'a Arguments, context: &'a Context) -> Result<Roots<'a>, Failure> {
    let given = arguments
        .paths
        .iter()
        .map(|path| of_argument(path, arguments, context));
    let Some(list) = &arguments.files_from else {
        return Ok(Box::new(given));
    };
    let source: Box<dyn Read + 'a> = if list == Path::new("-") {
        Box::new(Patient::new(std::io::stdin(), context.interrupt))
    } else {
        #[expect(clippy::disallowed_methods, reason = "a list of paths is read and not stored")]
        let file = std::fs::File::open(list).map_err(|error| unreadable(list).caused_by(&error))?;
        Box::new(Patient::new(file, context.interrupt))
    };
    let listed = List {
        source: BufReader::new(source),
        path: list,
        separator: if arguments.null { 0 } else { b'\n' },
        is_done: false,
    };
    let listed = listed.map(|line| of_line(&line?, arguments));
    Ok(Box::new(given.chain(listed)))
}

fn of_argument(path: &Path, arguments: &Arguments, context: &Context) -> Result<Root, Unnamed> {
    let last = last_component(path);
    let name = match (&arguments.name, &last) {
        (Some(name), _) => name.as_bytes(),
        (None, Some(last)) => last,
        (None, None) => {
            let message = format!("{} ends in no name to store it under", text::path(path));
            let again = format!("commit --name NAME -- {}", text::shell_word(&text::path(path)));
            return Err(Unnamed {
                path: path.to_owned(),
                failure: Box::new(Failure::new(exit::FAILED, message).suggest(context.command(&again, &[]))),
            });
        }
    };
    Ok(Root {
        path: path.to_owned(),
        name: with_prefix(name, arguments),
        below: last.unwrap_or_default(),
        origin: Origin::Argument,
    })
}

/// Names a line of a list after its path; `.` stands for what is in it.
fn of_line(line: &[u8], arguments: &Arguments) -> Result<Root, Unnamed> {
    let path = PathBuf::from(OsStr::from_bytes(line));
    let parts = line.split(|&byte| byte == b'/');
    let parts: Vec<&[u8]> = parts.filter(|part| !part.is_empty() && part != b".").collect();
    if parts.contains(&b"..".as_slice()) {
        let message = format!("{} has a part .. and gives no name", text::path(&path));
        let failure = Box::new(Failure::new(exit::FAILED, message));
        return Err(Unnamed { path, failure });
    }
    let below = parts.join(&b'/');
    Ok(Root {
        path,
        name: with_prefix(&below, arguments),
        below,
        origin: Origin::List,
    })
}

/// Returns the last component of the absolute path, so that `.` has the name of the directory it stands for.
fn last_component(path: &Path) -> Option<Vec<u8>> {
    // What is above a directory is known only to those who follow the links on the way.
    let absolute = if path.as_os_str() == ".." || path.as_os_str().as_bytes().ends_with(b"/..") {
        path.canonicalize().ok()?
    } else {
        std::path::absolute(path).ok()?
    };
    let last: &OsStr = absolute.file_name()?;
    Some(last.as_bytes().to_vec())
}

fn with_prefix(name: &[u8], arguments: &Arguments) -> Vec<u8> {
    let prefix = arguments.prefix.as_ref().map(FileName::as_bytes);
    below(prefix.unwrap_or_default(), name)
}

/// Joins two names, either of which may be empty.
pub(super) fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match (directory, name) {
        (b"", rest) | (rest, b"") => rest.to_vec(),
        (directory, name) => [directory, name].join(&b'/'),
    }
}

/// A list of paths, one after another.
struct List<'a> {
    source: BufReader<Box<dyn Read + 'a>>,
    path: &'a Path,
    separator: u8,
    is_done: bool,
}

impl Iterator for List<'_> {
    type Item = Result<Vec<u8>, Unnamed>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_done {
            let mut line = Vec::new();
            match self.source.read_until(self.separator, &mut line) {
                Ok(0) => self.is_done = true,
                Ok(_) => {
                    line.pop_if(|last| *last == self.separator);
                    if !line.is_empty() {
                        return Some(Ok(line));
                    }
                }
                Err(error) => {
                    self.is_done = true;
                    return Some(Err(Unnamed {
                        path: self.path.to_owned(),
                        failure: Box::new(unreadable(self.path).caused_by(&error)),
                    }));
                }
            }
        }
        None
    }
}

fn unreadable(list: &Path) -> Failure {
    let shown = text::path(list);
    Failure::new(
        exit::FAILED,
        format!("the list of paths in {shown} cannot be read"),
    )
}

//! `bfdb-damage`: damages files of an archive on purpose, so that repair can be tried by hand.
//!
//! Exit status: 0 the damage was done, 1 it could not be, 2 the command line was not understood.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, io};

use bfdb::units::ByteRange;
use bfdb_fault_injection::{Seeded, damage};

const USAGE: &str = "\
usage: bfdb-damage COMMAND

  flip PATH OFFSET             invert all bits of one byte
  flip-random PATH --seed S    invert some bits of some byte; the same seed does the same again
  zero PATH A..B               put zeros over the bytes from A up to B, B not included
  truncate PATH LEN            cut the file to LEN bytes
  delete PATH                  delete the file
  list ARCHIVE                 print the extent files below a directory

This destroys data on purpose. Numbers are decimal bytes.";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let Some(command) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match execute(&command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bfdb-damage: {}: {error}", command.path().display());
            ExitCode::FAILURE
        }
    }
}

/// What the command line asks for.
#[derive(Debug)]
enum Command {
    Flip { path: PathBuf, offset: u64 },
    FlipRandom { path: PathBuf, seed: u64 },
    Zero { path: PathBuf, range: ByteRange },
    Truncate { path: PathBuf, len_bytes: u64 },
    Delete { path: PathBuf },
    List { archive: PathBuf },
}

impl Command {
    fn path(&self) -> &Path {
        match self {
            Self::Flip { path, .. }
            | Self::FlipRandom { path, .. }
            | Self::Zero { path, .. }
            | Self::Truncate { path, .. }
            | Self::Delete { path }
            | Self::List { archive: path } => path,
        }
    }
}

/// Paths may be any bytes, everything else is text.
fn parse(arguments: &[OsString]) -> Option<Command> {
    let (name, rest) = arguments.split_first()?;
    let (path, rest) = rest.split_first()?;
    let path = PathBuf::from(path);
    let rest: Vec<&str> = rest
        .iter()
        .map(|argument| argument.to_str())
        .collect::<Option<_>>()?;
    match (name.to_str()?, rest.as_slice()) {
        ("flip", [offset]) => Some(Command::Flip {
            path,
            offset: offset.parse().ok()?,
        }),
        ("flip-random", ["--seed", seed]) => Some(Command::FlipRandom {
            path,
            seed: seed.parse().ok()?,
        }),
        ("zero", [range]) => {
            let (start, end) = range.split_once("..")?;
            Some(Command::Zero {
                path,
                range: ByteRange::new(start.parse().ok()?, end.parse().ok()?)?,
            })
        }
        ("truncate", [len_bytes]) => Some(Command::Truncate {
            path,
            len_bytes: len_bytes.parse().ok()?,
        }),
        ("delete", []) => Some(Command::Delete { path }),
        ("list", []) => Some(Command::List { archive: path }),
        _ => None,
    }
}

fn execute(command: &Command) -> io::Result<()> {
    match command {
        Command::Flip { path, offset } => damage::flip_byte(path, *offset),
        Command::FlipRandom { path, seed } => {
            let offset = damage::flip_random_byte(path, &mut Seeded::new(*seed))?;
            println!("{offset}");
            Ok(())
        }
        Command::Zero { path, range } => damage::zero_range(path, *range),
        Command::Truncate { path, len_bytes } => damage::truncate(path, *len_bytes),
        Command::Delete { path } => damage::delete(path),
        Command::List { archive } => {
            for path in damage::extent_files(archive)? {
                println!("{}", path.display());
            }
            Ok(())
        }
    }
}

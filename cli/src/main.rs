//! `bfdb`: the command line of the archive engine. Everything is in the library of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    bfdb_cli::run()
}

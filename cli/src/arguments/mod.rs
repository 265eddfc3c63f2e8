//! The command line as it is typed, before it means anything.

pub(crate) mod pace;
pub(crate) mod values;
pub(crate) mod volumes;

use std::{ffi::OsStr, path::PathBuf};

use clap::{
    ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    builder::{FalseyValueParser, Resettable, TypedValueParser as _},
    error::ErrorKind,
    parser::ValueSource,
};

use crate::{
    commands::{
        cat, catalog, commit, compact, find, health, init, ls, mv, plan, recover, repair, restore, rm, scrub,
        stat, status, verify, volume, what_if,
    },
    exit,
    failure::Failure,
    output,
};

/// Where the archive is when nothing says so.
pub(crate) const DEFAULT_ARCHIVE: &str = "./archive.bfdb";

/// The variable that says where the archive is.
pub(crate) const ARCHIVE_VARIABLE: &str = "BFDB_ARCHIVE";

/// The variable that says where volumes may be.
pub(crate) const VOLUME_VARIABLE: &str = "BFDB_VOLUME";

const JSON_VARIABLE: &str = "BFDB_JSON";

/// Keeps files of any size on ordinary disks, verified and repairable to the last byte.
#[derive(Debug, Parser)]
#[command(
    name = "bfdb",
    version,
    max_term_width = 100,
    after_help = "Examples:\n  \
        bfdb commit photo.cr3             store a file in ./archive.bfdb, which is made when missing\n  \
        bfdb plan ~/photos                what storing it would take, and how safe it would be\n  \
        bfdb ls -l                        list what is stored\n  \
        bfdb scrub                        read and verify every stored byte\n  \
        bfdb restore photo.cr3 -o /tmp    get it back, verified\n\n\
        Exit codes: 0 fine, 1 failed, 2 usage, 3 partly done, 4 damage that can be repaired, 5 data loss,\n\
        6 a volume is away, 10 no archive, 11 locked, 13 catalog damaged, 14 newer format, 15 no such name, 130 interrupted."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Directory of the archive
    #[arg(short, long, global = true, value_name = "DIR", env = ARCHIVE_VARIABLE, default_value = DEFAULT_ARCHIVE)]
    pub(crate) archive: PathBuf,
    /// Directory of a volume: one to make with a new archive, or where one may be that is not where it was; any number
    ///
    /// The variable holds several with colons between them.
    #[arg(long, global = true, value_name = "DIR", env = VOLUME_VARIABLE, action = ArgAction::Append)]
    pub(crate) volume: Vec<PathBuf>,
    /// Print JSON lines; errors go to standard error as JSON too
    #[arg(long, global = true, env = JSON_VARIABLE, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Print nothing but results that were asked for, damage and errors; wins over -v
    #[arg(short, long, global = true, env = "BFDB_QUIET", value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,
    /// Print more
    #[arg(short, long, global = true, env = "BFDB_VERBOSE", value_parser = FalseyValueParser::new())]
    pub(crate) verbose: bool,
    /// When to color what goes to standard error
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        env = "BFDB_COLOR",
        default_value = "auto"
    )]
    pub(crate) color: ColorChoice,
    /// Whether to show progress on standard error: auto is a line on a terminal, json are JSON lines
    #[arg(
        long,
        global = true,
        value_name = "HOW",
        env = "BFDB_PROGRESS",
        default_value = "auto"
    )]
    pub(crate) progress: ProgressChoice,
    /// Threads that hash, encode and do I/O, at most; 0 is four for each processor
    #[arg(
        long,
        global = true,
        value_name = "N",
        env = "BFDB_THREADS",
        default_value_t = 0
    )]
    pub(crate) threads: usize,
    /// Memory for data in flight, in bytes or with a suffix K, M, G or T (powers of 1024); 128M unless given
    #[arg(long, global = true, value_name = "BYTES", env = "BFDB_MEMORY", value_parser = values::memory)]
    pub(crate) memory: Option<usize>,
    /// How extents are written, scrubbed and verified: auto goes past the page cache where the file system can, direct refuses volumes where it cannot
    #[arg(
        long,
        global = true,
        value_name = "HOW",
        env = "BFDB_IO",
        default_value = "auto"
    )]
    pub(crate) io: IoChoice,
    /// What kind of disk the archive is on: rotating stores and reads large files in long pieces; auto asks the system
    #[arg(
        long,
        global = true,
        value_name = "KIND",
        env = "BFDB_DISK",
        default_value = "auto"
    )]
    pub(crate) disk: DiskChoice,
}

/// When to use colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    Auto,
    Always,
    Never,
}

/// How to show progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressChoice {
    Auto,
    Always,
    Never,
    Json,
}

/// How to write extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IoChoice {
    Auto,
    Direct,
    Buffered,
}

/// What kind of disk there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiskChoice {
    Auto,
    Solid,
    Rotating,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Arguments),
    Commit(commit::Arguments),
    Plan(plan::Arguments),
    Ls(ls::Arguments),
    Find(find::Arguments),
    Stat(stat::Arguments),
    Cat(cat::Arguments),
    Restore(restore::Arguments),
    Verify(verify::Arguments),
    Scrub(scrub::Arguments),
    Repair(repair::Arguments),
    Rm(rm::Arguments),
    Compact(compact::Arguments),
    Mv(mv::Arguments),
    Status(status::Arguments),
    Health(health::Arguments),
    WhatIf(what_if::Arguments),
    Recover(recover::Arguments),
    Volume(volume::Arguments),
    Catalog(catalog::Arguments),
}

impl Command {
    /// Returns after how many bytes a commit notes how far it has come, where that was asked for.
    pub(crate) const fn progress_bytes(&self) -> Option<u64> {
        match self {
            Self::Commit(arguments) => arguments.progress_bytes(),
            Self::Recover(arguments) => arguments.progress_bytes(),
            Self::Init(_)
            | Self::Plan(_)
            | Self::Ls(_)
            | Self::Find(_)
            | Self::Stat(_)
            | Self::Cat(_)
            | Self::Restore(_)
            | Self::Verify(_)
            | Self::Scrub(_)
            | Self::Repair(_)
            | Self::Rm(_)
            | Self::Compact(_)
            | Self::Mv(_)
            | Self::Status(_)
            | Self::Health(_)
            | Self::WhatIf(_)
            | Self::Volume(_)
            | Self::Catalog(_) => None,
        }
    }
}

/// How a commit works, for those who know why.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Advanced options")]
pub(crate) struct Advanced {
    /// Bytes of a file after which a commit notes how far it has come, so that it can go on from there; shorter files begin
    /// anew. With an optional suffix K, M, G or T (powers of 1024); 256M unless given
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) progress_bytes: Option<u64>,
}

/// Parses the arguments of this process; help, the version and what is wrong with them are printed here.
///
/// # Errors
/// The exit code, when there is nothing left to do.
pub(crate) fn parse() -> Result<Arguments, u8> {
    let command = without_empty_variables(Arguments::command());
    let parsed = command.try_get_matches().and_then(|matches| {
        let parsed = Arguments::from_arg_matches(&matches);
        let mut parsed = parsed.map_err(|error| error.format(&mut Arguments::command()))?;
        if matches.value_source("volume") == Some(ValueSource::EnvVariable) {
            let directories = parsed.global.volume.iter();
            parsed.global.volume = directories
                .flat_map(|path| volumes::split(path.as_os_str()))
                .collect();
        }
        Ok(parsed)
    });
    parsed.map_err(|error| {
        if !error.use_stderr() {
            return output::print_help(&error);
        }
        if wants_json() {
            let whole = error.render().to_string();
            let message = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                "no command was given"
            } else {
                first_line(&whole)
            };
            output::print_usage_as_json(&Failure::usage(message));
        } else {
            output::print_usage(&error);
        }
        exit::USAGE
    })
}

/// A variable that is set to nothing counts as one that is not set.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    command.mut_args(|argument| {
        let value = argument.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.is_empty()) {
            argument.env(Resettable::Reset)
        } else {
            argument
        }
    })
}

fn first_line(rendered: &str) -> &str {
    let line = rendered.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line)
}

/// Says whether errors are to be JSON when the arguments that would tell cannot be parsed.
fn wants_json() -> bool {
    let is_asked_for = std::env::args_os()
        .skip(1)
        .take_while(|argument| argument != "--")
        .any(|argument| argument == "--json");
    let parser = FalseyValueParser::new();
    let is_set = |value: &OsStr| parser.parse_ref(&clap::Command::new("bfdb"), None, value);
    let from_environment = std::env::var_os(JSON_VARIABLE);
    is_asked_for || from_environment.is_some_and(|value| is_set(&value).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_global_option_has_a_variable_and_no_other_option_has_one() {
        let command = Arguments::command();
        for argument in command
            .get_arguments()
            .filter(|argument| argument.is_global_set())
        {
            let variable = format!("BFDB_{}", argument.get_id().as_str().to_uppercase());
            assert_eq!(
                argument.get_env().and_then(OsStr::to_str),
                Some(variable.as_str())
            );
        }
        for subcommand in command.get_subcommands() {
            let name = subcommand.get_name();
            for argument in subcommand.get_arguments() {
                assert!(
                    argument.get_env().is_none(),
                    "{argument} of {name} has a variable"
                );
            }
        }
    }
}

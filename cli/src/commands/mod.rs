//! The commands, a module each: arguments, what they ask of the library, and how the answer is shown.

pub(crate) mod cat;
pub(crate) mod catalog;
pub(crate) mod commit;
pub(crate) mod compact;
mod damage;
mod disks;
mod entry;
pub(crate) mod find;
mod frames;
pub(crate) mod health;
pub(crate) mod init;
mod listing;
pub(crate) mod ls;
pub(crate) mod mv;
pub(crate) mod plan;
pub(crate) mod recover;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod rm;
pub(crate) mod scrub;
pub(crate) mod stat;
pub(crate) mod status;
mod tolerance;
pub(crate) mod verify;
mod versions;
pub(crate) mod volume;
pub(crate) mod what_if;

use bfdb::units::FileName;

use crate::{arguments::Command, context::Context, exit, failure::Failure};

/// Runs a command and returns its exit code.
///
/// # Errors
/// What ended it before its end; what failed for one of several files is printed by the command itself.
pub(crate) fn run(command: &Command, context: &Context) -> Result<u8, Failure> {
    let code = match command {
        Command::Init(arguments) => return init::run(arguments, context),
        Command::Commit(arguments) => return commit::run(arguments, context),
        Command::Cat(arguments) => return cat::run(arguments, context),
        Command::Restore(arguments) => return restore::run(arguments, context),
        Command::Rm(arguments) => return rm::run(arguments, context),
        Command::Mv(arguments) => return mv::run(arguments, context),
        Command::Plan(arguments) => return plan::run(arguments, context),
        Command::Recover(arguments) => return recover::run(arguments, context),
        Command::Volume(arguments) => return volume::run(arguments, context),
        Command::Catalog(arguments) => return catalog::run(arguments, context),
        Command::Compact(arguments) => return compact::run(arguments, context),
        Command::Ls(arguments) => ls::run(arguments, context)?,
        Command::Find(arguments) => find::run(arguments, context)?,
        Command::Stat(arguments) => stat::run(arguments, context)?,
        Command::Verify(arguments) => verify::run(arguments, context)?,
        Command::Scrub(arguments) => scrub::run(arguments, context)?,
        Command::Repair(arguments) => repair::run(arguments, context)?,
        Command::Status(arguments) => status::run(arguments, context)?,
        Command::Health(arguments) => health::run(arguments, context)?,
        Command::WhatIf(arguments) => what_if::run(arguments, context)?,
    };
    // These speak for what is stored; with an old catalog they do not know all of it.
    Ok(exit::worst(code, context.catalog_code()))
}

/// Drops every prefix that another one covers, so that no file is met twice.
fn without_covered(prefixes: &[FileName]) -> Vec<&FileName> {
    let mut kept: Vec<&FileName> = Vec::new();
    for (index, prefix) in prefixes.iter().enumerate() {
        let covers = |(other_index, other): (usize, &FileName)| {
            // Of two equal ones the first stays.
            prefix.is_within(other) && (prefix != other || other_index < index)
        };
        if !prefixes.iter().enumerate().any(covers) {
            kept.push(prefix);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_within_another_or_given_twice_is_dropped() {
        let names: Vec<FileName> = ["a/b", "c", "a", "a/bc", "c", "cd"]
            .iter()
            .map(|text| text.parse().expect("valid"))
            .collect();
        let kept: Vec<String> = without_covered(&names).iter().map(ToString::to_string).collect();
        assert_eq!(kept, ["c", "a", "cd"]);
    }
}

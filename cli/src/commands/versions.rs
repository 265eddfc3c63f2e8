//! Versions of a name, where a command is asked for one of them.

use bfdb::{archive::Snapshot, units::FileName};

use crate::{context::Context, exit, failure::Failure};

/// Which version of a name is meant.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Asked {
    /// That version instead of the current one, as `ls --versions` numbers them
    #[arg(long, value_name = "V", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) version: Option<u32>,
}

impl Asked {
    /// Returns what asks for the same version in a command that is suggested, with a space before it.
    pub(super) fn words(self) -> String {
        self.version
            .map_or_else(String::new, |version| format!(" --version {version}"))
    }

    /// Returns the view in which the name stands for what was asked for. That nothing has the name is left to be said by who
    /// looks it up there.
    pub(super) fn view(
        self,
        snapshot: Snapshot,
        name: &FileName,
        context: &Context,
    ) -> Result<Snapshot, Failure> {
        let Some(version) = self.version else {
            return Ok(snapshot);
        };
        let unreadable = |error| context.catalog_failure(&error);
        let view = snapshot.of_version(version);
        let is_there = view.file(name).map_err(unreadable)?.is_some();
        if !is_there && snapshot.file(name).map_err(unreadable)?.is_some() {
            return Err(no_such_version(name, version, context));
        }
        Ok(view)
    }
}

/// The failure of a version that is not there, while another one of the name is.
pub(super) fn no_such_version(name: &FileName, version: u32, context: &Context) -> Failure {
    let message = format!("no version {version} of {name} in this archive");
    let failure = Failure::new(exit::NO_SUCH_NAME, message);
    failure.suggest(context.command("ls --versions", &[name]))
}

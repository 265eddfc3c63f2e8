//! Commits that wait after a recovery (O4): each can be ended in either way.

use std::collections::BTreeSet;

use bfdb::{
    Archive,
    error::CommitError,
    units::{CommitId, FileName},
};

use super::{
    image::{Half, History, Image},
    oracle::{Allowed, Seen},
    setting::explained,
    view::see,
    violation::{Promise, Violation},
};

/// Ends everything that waits: on half of the images it is rolled back, on the others resumed. Says whether anything was.
///
/// # Errors
/// What may not be: a commit that can be ended in neither way, or content that nobody asked for.
pub(super) fn end_waiting(
    archive: &Archive,
    image: &Image,
    (allowed, seen): (&Allowed, &Seen),
) -> Result<bool, Violation> {
    let refused = |error: CommitError| Promise::Ends.broken(explained(&error));
    let waiting = archive.unfinished().map_err(refused)?;
    let mut resumed = Vec::new();
    for commit in &waiting {
        if commit.is_running {
            return Err(Promise::Ends.broken(format!("nobody works, but somebody does: {commit:?}")));
        }
        if allowed.is_settled(&commit.name.to_string()) && image.history() == History::Well {
            return Err(
                Promise::Ends.broken(format!("a later one was acknowledged, and it waits: {commit:?}"))
            );
        }
        if resumed.contains(&commit.name.to_string()) {
            // Whoever stores a name gives back what else waits under it.
            continue;
        }
        let ended = if image.is_of(Half::RolledBack) {
            Ended::NotYet
        } else {
            resume(archive, (commit.commit, &commit.name), seen)?
        };
        match ended {
            Ended::Stored => resumed.push(commit.name.to_string()),
            Ended::Outdated => {}
            Ended::NotYet => archive.roll_back(commit.commit).map_err(refused)?,
        }
    }
    if let Some(left) = archive.unfinished().map_err(refused)?.first() {
        return Err(Promise::Ends.broken(format!("ended, and waits still: {left:?}")));
    }
    if !waiting.is_empty() {
        let wrong = |wrong| Promise::Content.broken(format!("what waited was ended: {wrong}"));
        allowed
            .judge_resumed(seen, &see(archive)?, &resumed)
            .map_err(wrong)?;
    }
    Ok(!waiting.is_empty())
}

/// Returns the commits that can go on, as anybody is told who opens an archive.
///
/// # Errors
/// When that cannot be listed.
pub(super) fn waiting(archive: &Archive) -> Result<BTreeSet<CommitId>, Violation> {
    let listed = archive.unfinished();
    let listed = listed.map_err(|error| Promise::Ends.broken(explained(&error)))?;
    let resumable = listed.iter().filter(|commit| commit.resumable.is_some());
    Ok(resumable.map(|commit| commit.commit).collect())
}

/// Checks that no commit that could go on is given up by a recovery.
///
/// # Errors
/// One that is gone.
pub(super) fn still_waits(before: &BTreeSet<CommitId>, archive: &Archive) -> Result<(), Violation> {
    let now = waiting(archive)?;
    match before.difference(&now).next() {
        None => Ok(()),
        Some(gone) => Err(Promise::Ends.broken(format!(
            "a recovery has given commit {gone} up, which could go on"
        ))),
    }
}

/// What an attempt to go on has come to.
enum Ended {
    /// It is stored.
    Stored,
    /// A later commit of its name was there, and it was given back.
    Outdated,
    /// The name was taken meanwhile, or nobody has tried.
    NotYet,
}

/// Goes on with a commit whose source is still there.
fn resume(archive: &Archive, (commit, name): (CommitId, &FileName), seen: &Seen) -> Result<Ended, Violation> {
    match archive.resume(commit, &()) {
        Ok(_) => Ok(Ended::Stored),
        Err(CommitError::NoSuchCommit { .. }) if seen.contains_key(&name.to_string()) => Ok(Ended::Outdated),
        Err(CommitError::NameTaken { .. } | CommitError::KindTaken { .. })
            if seen.contains_key(&name.to_string()) =>
        {
            Ok(Ended::NotYet)
        }
        Err(error) => Err(Promise::Ends.broken(format!("{commit} of {name}: {}", explained(&error)))),
    }
}

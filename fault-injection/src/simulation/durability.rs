//! Which changes are on disk for sure, and which are on their way.
//!
//! The one place that knows what a sync means. Invariant: the durable state with all pending changes done in order is the
//! live state, unless a sync dropped bytes.

use super::{
    action::{Action, Form, Inode, Operation, Outcome},
    content::Content,
    disk::Disk,
};

/// A change that no sync covers yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    /// Where its operation stands in the log.
    pub(super) index: usize,
    /// What of it is pending.
    pub(super) form: Form,
}

/// The durable state of a disk, and the changes since.
#[derive(Debug, Clone)]
pub(super) struct Durability {
    pub(super) disk: Disk,
    /// In the order in which they were made.
    pub(super) pending: Vec<Pending>,
}

impl Durability {
    pub(super) const fn new(disk: Disk) -> Self {
        Self {
            disk,
            pending: Vec::new(),
        }
    }

    /// Takes the operation at `index` of the log. Says whether it changed what was durable or pending before.
    pub(super) fn record(&mut self, log: &[Operation], index: usize) -> bool {
        let operation = &log[index];
        match (&operation.action, operation.outcome) {
            (_, Outcome::Nothing) => false,
            (Action::SyncFile { inode }, Outcome::Done) => {
                self.sync_file(log, *inode);
                true
            }
            (Action::SyncFile { inode }, Outcome::DroppedBytes) => {
                self.drop_bytes(log, *inode);
                true
            }
            (Action::SyncDirectory { inode }, _) => {
                self.sync_directory(log, *inode);
                true
            }
            (
                Action::CreateFile { .. }
                | Action::CreateDirectory { .. }
                | Action::Write { .. }
                | Action::SetLen { .. }
                | Action::Allocate { .. }
                | Action::Punch { .. }
                | Action::Rename { .. }
                | Action::Remove { .. },
                _,
            ) => {
                let form = Form::Whole;
                self.pending.push(Pending { index, form });
                false
            }
        }
    }

    /// Returns a file as it is with everything pending, but for the bytes that were dropped.
    pub(super) fn content_after(&self, log: &[Operation], inode: Inode) -> Content {
        let mut disk = self.disk.clone();
        for pending in &self.pending {
            let action = &log[pending.index].action;
            if action.changed_file() == Some(inode) {
                disk.apply(action, pending.form);
            }
        }
        disk.content_mut(inode).clone()
    }

    /// Bytes, length and blocks; not the name.
    fn sync_file(&mut self, log: &[Operation], inode: Inode) {
        let disk = &mut self.disk;
        self.pending.retain(|pending| {
            let action = &log[pending.index].action;
            let is_covered = action.changed_file() == Some(inode);
            if is_covered {
                disk.apply(action, pending.form);
            }
            !is_covered
        });
    }

    /// Lengths and blocks are the file system's own and stay pending; the bytes are gone.
    fn drop_bytes(&mut self, log: &[Operation], inode: Inode) {
        for pending in &mut self.pending {
            if matches!(&log[pending.index].action, Action::Write { inode: written, .. } if *written == inode)
            {
                pending.form = Form::SizeOnly;
            }
        }
    }

    /// The names in this one directory. A renaming into another directory is covered by half, in the worst reading.
    fn sync_directory(&mut self, log: &[Operation], directory: Inode) {
        let disk = &mut self.disk;
        let mut unnamed = Vec::new();
        self.pending.retain_mut(|pending| {
            let action = &log[pending.index].action;
            let Some(covered) = covered_by(action, pending.form, directory) else {
                return true;
            };
            unnamed.extend(loser(disk, action, covered));
            disk.apply(action, covered);
            if covered == pending.form {
                return false;
            }
            pending.form = if covered == Form::AddedOnly {
                Form::RemovedOnly
            } else {
                Form::AddedOnly
            };
            true
        });
        for inode in unnamed {
            let gets_a_name = |pending: &Pending| {
                pending.form != Form::RemovedOnly && log[pending.index].action.named() == Some(inode)
            };
            if !self.pending.iter().any(gets_a_name) {
                self.disk.drop_if_nameless(inode);
            }
        }
    }
}

/// Returns what of a pending change a sync of `directory` makes durable.
fn covered_by(action: &Action, form: Form, directory: Inode) -> Option<Form> {
    match action {
        Action::CreateFile { name, .. } | Action::CreateDirectory { name, .. } | Action::Remove { name } => {
            (name.directory == directory).then_some(form)
        }
        Action::Rename { from, to, .. } => {
            let adds = to.directory == directory && form != Form::RemovedOnly;
            let removes = from.directory == directory && form != Form::AddedOnly;
            match (adds, removes) {
                (true, true) => Some(Form::Whole),
                (true, false) => Some(Form::AddedOnly),
                (false, true) => Some(Form::RemovedOnly),
                (false, false) => None,
            }
        }
        Action::Write { .. }
        | Action::SetLen { .. }
        | Action::Allocate { .. }
        | Action::Punch { .. }
        | Action::SyncFile { .. }
        | Action::SyncDirectory { .. } => None,
    }
}

/// Returns what loses a name by a change of names.
fn loser(disk: &Disk, action: &Action, form: Form) -> Option<Inode> {
    match action {
        Action::Rename { from, .. } if form == Form::RemovedOnly => disk.at(from),
        Action::Remove { name }
        | Action::CreateFile { name, .. }
        | Action::CreateDirectory { name, .. }
        | Action::Rename { to: name, .. } => disk.at(name),
        Action::Write { .. }
        | Action::SetLen { .. }
        | Action::Allocate { .. }
        | Action::Punch { .. }
        | Action::SyncFile { .. }
        | Action::SyncDirectory { .. } => None,
    }
}

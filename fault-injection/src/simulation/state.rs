//! What a simulated storage holds behind its lock, and the one way by which anything in it changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    path::Path,
    sync::Arc,
};

use bfdb::storage::{FileAccess, LockHandle, LockTable, Medium};

use super::{
    action::{Action, Form, Inode, Operation, Outcome},
    content::Payload,
    disk::Disk,
    durability::Durability,
    faults::{AfterDrop, Asked, Condition, Counts, Fault, FaultRule, LockSupport, OperationKind},
    page::{PAGE_BYTES, to_u64},
    timeline::Marker,
};

/// In about how many pieces a range is given back.
const PUNCHED_PIECES: u64 = 3;

/// Everything about one storage.
#[derive(Debug)]
pub(super) struct State {
    /// What readers see.
    pub(super) live: Disk,
    pub(super) durability: Durability,
    /// The state before the first operation of the log.
    pub(super) initial: Disk,
    pub(super) log: Vec<Operation>,
    pub(super) markers: Vec<Marker>,
    pub(super) locks: LockTable<Inode>,
    pub(super) lock_support: LockSupport,
    pub(super) rules: Vec<FaultRule>,
    pub(super) counts: Counts,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) condition: Condition,
    /// Whether the file system cannot give back parts of a file.
    pub(super) has_no_holes: bool,
    /// What kind of disk it says that it is.
    pub(super) medium: Medium,
    /// How many waits for a lock were refused; `None` where they wait.
    pub(super) refused_waits: Option<u64>,
    /// The first operation that the first rule spoiled; of one without a number the last before it.
    pub(super) first_rule_fired: Option<u64>,
    /// How many handles are open; a file without a name lives as long as one is.
    open: BTreeMap<Inode, u64>,
    last_handle: LockHandle,
    /// Files of which readers see bytes that a sync has dropped.
    stale: BTreeSet<Inode>,
    /// Syncs that were acknowledged and are still to be done.
    late_syncs: Vec<(Arc<Path>, Action)>,
}

impl State {
    /// Puts a disk into place of which everything is durable.
    pub(super) fn new(disk: Disk, capacity_bytes: Option<u64>) -> Self {
        Self {
            live: disk.clone(),
            durability: Durability::new(disk.clone()),
            initial: disk,
            log: Vec::new(),
            markers: Vec::new(),
            locks: LockTable::default(),
            lock_support: LockSupport::Full,
            rules: Vec::new(),
            counts: Counts::default(),
            capacity_bytes,
            condition: Condition::Well,
            has_no_holes: false,
            medium: Medium::Solid,
            refused_waits: None,
            first_rule_fired: None,
            open: BTreeMap::new(),
            last_handle: 0,
            stale: BTreeSet::new(),
            late_syncs: Vec::new(),
        }
    }

    /// Does an action for the caller, or what a rule makes of it. The caller has checked that it can be done.
    pub(super) fn perform(&mut self, path: &Arc<Path>, action: Action) -> io::Result<()> {
        let fault = self.fault_for((action.kind(), None), path, action.range());
        self.carry_out(path, action, fault)
    }

    /// Writes as much as there is room for and rules leave; returns how much that was.
    pub(super) fn write(
        &mut self,
        path: &Arc<Path>,
        inode: Inode,
        (offset, bytes): (u64, &[u8]),
    ) -> io::Result<usize> {
        let wanted = offset..offset + to_u64(bytes.len());
        let room = self.reach(inode, wanted.clone()) - offset;
        if room == 0 && !bytes.is_empty() {
            return Err(Fault::Full.error());
        }
        let fault = self.fault_for((OperationKind::Write, None), path, wanted);
        let len_bytes = match fault {
            Some(Fault::Short { len_bytes }) => room.min(len_bytes.max(1)),
            Some(Fault::Partial { len_bytes }) => room.min(len_bytes),
            _ => room,
        };
        let len = bytes.len().min(usize::try_from(len_bytes).unwrap_or(usize::MAX));
        let payload = Payload::new(offset, &bytes[..len]);
        self.carry_out(path, Action::Write { inode, payload }, fault)?;
        Ok(len)
    }

    /// Allocates; on a full disk what there is room for, and then it fails.
    pub(super) fn allocate(&mut self, path: &Arc<Path>, inode: Inode, wanted: Range<u64>) -> io::Result<()> {
        let reach = self.reach(inode, wanted.clone());
        if reach > wanted.start || wanted.is_empty() {
            let range = wanted.start..reach;
            self.perform(path, Action::Allocate { inode, range })?;
        }
        if reach < wanted.end {
            return Err(Fault::Full.error());
        }
        Ok(())
    }

    /// Gives the blocks of a range back, a few pages after the others: so that a crash leaves any part of it.
    pub(super) fn punch(&mut self, path: &Arc<Path>, inode: Inode, whole: Range<u64>) -> io::Result<()> {
        if self.has_no_holes {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let pages = (whole.end - whole.start) / PAGE_BYTES;
        let step = (pages / PUNCHED_PIECES).max(1) * PAGE_BYTES;
        let mut start = whole.start;
        while start < whole.end {
            let end = whole.end.min(start.saturating_add(step));
            let range = start..end;
            self.perform(path, Action::Punch { inode, range })?;
            start = end;
        }
        Ok(())
    }

    /// Asks the rules about an operation that changes nothing, and counts it.
    pub(super) fn ask(
        &mut self,
        kind: OperationKind,
        path: &Path,
        range: Range<u64>,
    ) -> io::Result<Option<Fault>> {
        self.ask_for((kind, None), path, range)
    }

    /// Asks the rules about opening a file.
    pub(super) fn ask_to_open(&mut self, path: &Path, access: FileAccess) -> io::Result<()> {
        self.ask_for((OperationKind::Open, Some(access)), path, 0..0)
            .map(drop)
    }

    fn ask_for(
        &mut self,
        of: (OperationKind, Option<FileAccess>),
        path: &Path,
        range: Range<u64>,
    ) -> io::Result<Option<Fault>> {
        match self.fault_for(of, path, range) {
            fault @ (None | Some(Fault::Short { .. } | Fault::FlipBit { .. })) => Ok(fault),
            Some(fault) => {
                self.vanish_by(fault);
                Err(fault.error())
            }
        }
    }

    pub(super) fn free_bytes(&self) -> u64 {
        let free = |capacity: u64| capacity.saturating_sub(self.live.allocated_bytes());
        self.capacity_bytes.map_or(u64::MAX, free)
    }

    /// Returns a number for a new handle of a file.
    pub(super) fn open_handle(&mut self, inode: Inode) -> LockHandle {
        let open = self.open.entry(inode).or_default();
        *open += 1;
        if *open == 1 {
            self.forget(inode);
        }
        self.last_handle += 1;
        self.last_handle
    }

    pub(super) fn close_handle(&mut self, inode: Inode, handle: LockHandle) {
        self.locks.release(inode, handle);
        let open = self.open.entry(inode).or_default();
        *open -= 1;
        if *open == 0 {
            self.open.remove(&inode);
            self.live.drop_if_nameless(inode);
        }
    }

    /// Shows readers what a file has without the bytes that were dropped.
    pub(super) fn forget(&mut self, inode: Inode) {
        if self.stale.remove(&inode) {
            let content = self.durability.content_after(&self.log, inode);
            self.live.replace_content(inode, content);
        }
    }

    /// Returns up to where a range of a file can be written with the room that there is.
    fn reach(&self, inode: Inode, range: Range<u64>) -> u64 {
        let free_bytes = self.free_bytes();
        if free_bytes == u64::MAX {
            return range.end;
        }
        let content = self.live.content(inode);
        content.map_or(range.end, |content| content.reach(range, free_bytes))
    }

    fn fault_for(
        &mut self,
        (kind, access): (OperationKind, Option<FileAccess>),
        path: &Path,
        range: Range<u64>,
    ) -> Option<Fault> {
        let number = to_u64(self.log.len()) + u64::from(kind.is_mutating());
        let asked = Asked {
            kind,
            number,
            nth_of_kind: self.counts.of(kind),
            path,
            access,
            range,
        };
        // Every rule is asked, so that each counts for itself; the first that fires wins.
        let verdicts: Vec<Option<Fault>> = self.rules.iter_mut().map(|rule| rule.judge(&asked)).collect();
        self.counts.count(kind);
        if verdicts.first().is_some_and(Option::is_some) {
            self.first_rule_fired = self.first_rule_fired.or(Some(number));
        }
        let fault = verdicts.into_iter().flatten().next();
        self.counts.injected += u64::from(fault.is_some());
        fault
    }

    fn carry_out(&mut self, path: &Arc<Path>, action: Action, injected: Option<Fault>) -> io::Result<()> {
        let outcome = match injected {
            None | Some(Fault::Short { .. } | Fault::Partial { .. }) => Outcome::Done,
            Some(Fault::SyncDropsBytes { .. }) => Outcome::DroppedBytes,
            Some(_) => Outcome::Nothing,
        };
        let dropped = match (&action, injected) {
            (Action::SyncFile { inode }, Some(Fault::SyncDropsBytes { view })) => Some((*inode, view)),
            _ => None,
        };
        if outcome == Outcome::Done {
            let unnamed = self.unnamed_by(&action);
            self.live.apply(&action, Form::Whole);
            if let Some(unnamed) = unnamed.filter(|inode| !self.open.contains_key(inode)) {
                self.live.drop_if_nameless(unnamed);
            }
        }
        let kind = action.kind();
        if injected == Some(Fault::SyncLate) {
            self.late_syncs.push((Arc::clone(path), action.clone()));
        }
        self.note(path, action, (outcome, injected));
        if kind.is_sync() && outcome == Outcome::Done {
            self.do_late_syncs();
        }
        if let Some((inode, view)) = dropped {
            self.stale.insert(inode);
            if view == AfterDrop::AtOnce {
                self.forget(inode);
            }
        }
        match injected {
            None | Some(Fault::Short { .. } | Fault::SyncForgotten | Fault::SyncLate) => Ok(()),
            Some(fault) => {
                self.vanish_by(fault);
                Err(fault.error())
            }
        }
    }

    /// Puts an operation into the timeline, and does what it makes durable.
    fn note(&mut self, path: &Arc<Path>, action: Action, (outcome, injected): (Outcome, Option<Fault>)) {
        let index = self.log.len();
        self.log.push(Operation {
            number: to_u64(index) + 1,
            path: Arc::clone(path),
            action,
            outcome,
            injected,
        });
        self.durability.record(&self.log, index);
    }

    fn do_late_syncs(&mut self) {
        for (path, action) in std::mem::take(&mut self.late_syncs) {
            self.counts.count(action.kind());
            self.note(&path, action, (Outcome::Done, None));
        }
    }

    fn vanish_by(&mut self, fault: Fault) {
        if fault == Fault::Vanish {
            self.condition = Condition::Gone;
        }
    }

    /// Returns what loses a name by an action.
    fn unnamed_by(&self, action: &Action) -> Option<Inode> {
        match action {
            Action::Remove { name } | Action::Rename { to: name, .. } => self.live.at(name),
            Action::CreateFile { .. }
            | Action::CreateDirectory { .. }
            | Action::Write { .. }
            | Action::SetLen { .. }
            | Action::Allocate { .. }
            | Action::Punch { .. }
            | Action::SyncFile { .. }
            | Action::SyncDirectory { .. } => None,
        }
    }
}

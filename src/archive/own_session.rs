//! The session of this process in one open archive.
//!
//! It begins before the first transaction and ends when the archive is closed. Invariant: it ends only when no intent names
//! it. Otherwise its file stays without a lock, as after a death, and the next writing open settles what is left: a long
//! commit waits then, where a session without a file would have it thrown away.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    catalog::Catalog,
    error::HostError,
    host::Session,
    seeded_bugs::{SeededBug, is_on},
    units::SessionId,
};

/// The session, when there is one yet.
#[derive(Debug)]
pub(super) struct OwnSession {
    /// Until it is dropped.
    catalog: Option<Arc<Catalog>>,
    slot: Mutex<Option<Session>>,
    /// Whether something was published that the catalog may not have.
    has_unknown: AtomicBool,
}

impl OwnSession {
    pub(super) fn none(catalog: &Arc<Catalog>) -> Self {
        Self {
            catalog: Some(Arc::clone(catalog)),
            slot: Mutex::new(None),
            has_unknown: AtomicBool::new(false),
        }
    }

    /// Lets the session stay when the archive is closed: the next writing open is to bring the catalog up.
    pub(super) fn keep(&self) {
        self.has_unknown.store(true, Ordering::Relaxed);
    }

    /// Returns the session; the first call makes it, and so does one that finds its file gone: that protects nothing which is
    /// written from now on.
    pub(super) fn id(
        &self,
        make: impl FnOnce() -> Result<Session, HostError>,
    ) -> Result<SessionId, HostError> {
        let mut slot = self.lock();
        if let Some(session) = slot.as_ref()
            && session.has_its_file()?
        {
            return Ok(session.id());
        }
        let made = make()?;
        let id = made.id();
        *slot = Some(made);
        Ok(id)
    }

    /// Takes the session out, to be ended when the catalog is closed; `None` where none was made or where something is left
    /// of it.
    pub(super) fn take_settled(&self) -> Option<Session> {
        let session = self.lock().take()?;
        if self.has_unknown.load(Ordering::Relaxed) {
            return None;
        }
        // What cannot be read may name it.
        let intents = self.catalog.as_ref()?.read().and_then(|reader| reader.intents());
        let is_settled = intents.is_ok_and(|intents| {
            let mut sessions = intents.iter().filter_map(|intent| intent.session);
            sessions.all(|named| named != session.id())
        });
        (is_settled || is_on(SeededBug::SessionEndsUnsettled)).then_some(session)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Session>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OwnSession {
    fn drop(&mut self) {
        let settled = self.take_settled();
        // While the session is there, a catalog that was not closed is verified by the next writer.
        drop(self.catalog.take());
        // Nobody is left to tell; a file that stays is recovered like that of a dead process.
        settled.map(Session::end);
    }
}

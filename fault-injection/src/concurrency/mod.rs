//! Many processes and threads in one archive on a real file system, some of them killed: whether everything that they were
//! told has one order.
//!
//! ```text
//! worker      a process (`bfdb-fault-injection work`): threads that share an open archive        hand, survey, sources
//! recorder    a line before each operation and one behind it, with a clock that all share        line
//! run         starts, listens, kills, and judges
//! histories   what was said, as one history for each name; what dead processes may have done
//! linear      whether a history has an order that explains all answers
//! ending      opens when everybody is gone, reads everything, and checks a copy like the image of a crash
//! ```
//!
//! What each process does follows from the seed; what comes before what does not, so a run with the same seed is another run.
//! Every content says by its bytes, its length and its time which commit it is of, so a reader knows which one it sees.
//!
//! Invariant: a begin is noted before the call and an end behind it, so what happened lies between.

mod answers;
mod content;
mod ending;
mod hand;
mod histories;
mod line;
pub mod linear;
mod recorder;
mod run;
mod sources;
mod survey;
mod worker;

pub use run::{Ground, TOGETHER, Together, run};
pub use worker::{Work, work};

//! Callers that are slow, that are many, or that promise too much.

use std::{
    io::{self, Read},
    sync::mpsc,
    time::Duration,
};

use bfdb::{archive::CommitOptions, error::CommitError};

use crate::support::{SEGMENTED_BELOW, Store, name, painted};

/// Reads nothing until it is told to.
struct Stalled(mpsc::Receiver<()>);

impl Read for Stalled {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.recv().map_err(io::Error::other)?;
        Err(io::Error::other("given up"))
    }
}

/// Streams once shared four buffers, so that four slow ones stopped every other.
#[test]
fn any_number_of_streams_that_stall_keeps_nobody_waiting() {
    let store = Store::new();
    let content = painted(SEGMENTED_BELOW * 2, 4);
    let (done, is_done) = mpsc::channel();
    let senders: Vec<mpsc::Sender<()>> = std::thread::scope(|scope| {
        let mut senders = Vec::new();
        for index in 0..8 {
            let (sender, receiver) = mpsc::channel();
            senders.push(sender);
            let archive = &store.archive;
            scope.spawn(move || {
                let stalled = name(&format!("stalled/{index}"));
                let result = archive.commit(&stalled, Stalled(receiver), 100_000, &CommitOptions::default());
                assert!(
                    matches!(result, Err(CommitError::SourceRead { .. })),
                    "{result:?}"
                );
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        scope.spawn(|| {
            store.put("stream", &content);
            done.send(()).unwrap();
        });
        let outcome = is_done.recv_timeout(Duration::from_secs(20));
        for sender in &senders {
            sender.send(()).unwrap();
        }
        outcome.expect("a stream waited for others");
        senders
    });
    drop(senders);
    assert_eq!(store.names(), ["stream"]);
}

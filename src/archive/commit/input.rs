//! Where the bytes of a commit come from.

use std::{
    io::{self, Read},
    sync::Mutex,
};

use crate::{
    archive::Observer,
    error::CommitError,
    host::SourceFile,
    units::{FileName, to_u64, to_usize},
};

/// Content that can be read at any place, by many workers at once.
pub(super) trait SeekableInput: Sync {
    /// Fills `into` with the bytes from `offset` on.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), CommitError>;
}

impl SeekableInput for SourceFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), CommitError> {
        Self::read_at(self, offset, into).map_err(|source| CommitError::Source { source })
    }
}

impl SeekableInput for Vec<u8> {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), CommitError> {
        self.as_slice().read_at(offset, into)
    }
}

impl SeekableInput for &[u8] {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), CommitError> {
        into.copy_from_slice(&self[to_usize(offset)..][..into.len()]);
        Ok(())
    }
}

/// A stream that was announced with a length.
pub(super) struct StreamInput<'a> {
    name: FileName,
    promised: u64,
    state: Mutex<StreamState<'a>>,
}

struct StreamState<'a> {
    reader: &'a mut (dyn Read + Send),
    read: u64,
}

impl<'a> StreamInput<'a> {
    pub(super) fn new(name: FileName, promised: u64, reader: &'a mut (dyn Read + Send)) -> Self {
        Self {
            name,
            promised,
            state: Mutex::new(StreamState { reader, read: 0 }),
        }
    }

    /// Reads the next bytes, all of them or an error. A slow stream delivers them in small pieces; the observer is asked
    /// before each whether to go on.
    pub(super) fn read_next(&self, into: &mut [u8], observer: &dyn Observer) -> Result<(), CommitError> {
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.read_locked(&mut state, into, observer)
    }

    /// Checks that the stream ends where it was announced to end.
    pub(super) fn check_end(&self) -> Result<(), CommitError> {
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match read_some(state.reader, &mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.wrong_length(self.promised + 1)),
            Err(source) => Err(CommitError::SourceRead {
                name: self.name.clone(),
                source,
            }),
        }
    }

    fn read_locked(
        &self,
        state: &mut StreamState<'_>,
        into: &mut [u8],
        observer: &dyn Observer,
    ) -> Result<(), CommitError> {
        let mut filled = 0;
        while filled < into.len() {
            if observer.is_cancelled() {
                return Err(CommitError::Cancelled);
            }
            match read_some(state.reader, &mut into[filled..]) {
                Ok(0) => return Err(self.wrong_length(state.read)),
                Ok(count) => {
                    filled += count;
                    state.read += to_u64(count);
                }
                Err(source) => {
                    return Err(CommitError::SourceRead {
                        name: self.name.clone(),
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    fn wrong_length(&self, found: u64) -> CommitError {
        CommitError::SourceLength {
            name: self.name.clone(),
            promised: self.promised,
            found,
        }
    }
}

fn read_some(reader: &mut (dyn Read + Send), into: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::archive::Event;

    /// Says how many bytes were read, and asks for an end after the third.
    #[derive(Default)]
    struct Pipe {
        read: AtomicU64,
    }

    impl Read for &Pipe {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.read.fetch_add(1, Ordering::SeqCst);
            into[0] = 1;
            Ok(1)
        }
    }

    impl Observer for Pipe {
        fn event(&self, _: Event<'_>) {}

        fn is_cancelled(&self) -> bool {
            self.read.load(Ordering::SeqCst) == 3
        }
    }

    #[test]
    fn a_slow_stream_is_stopped_in_the_middle_of_a_piece() {
        let pipe = Pipe::default();
        let mut reader = &pipe;
        let stream = StreamInput::new("a".parse().expect("a name"), 100, &mut reader);
        let stopped = stream.read_next(&mut [0; 100], &pipe);
        assert!(matches!(stopped, Err(CommitError::Cancelled)), "{stopped:?}");
        assert_eq!(pipe.read.load(Ordering::SeqCst), 3, "nothing is read after it");
    }
}

//! Sessions and their locks alone: a session that was begun and never ended is found dead by whoever comes after a crash.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::Path,
};

use bfdb::{
    error::HostError,
    host::{Machine, Session, SessionInfo, SessionState, glance_at_sessions, sessions},
    storage::Storage as _,
    units::SessionId,
};

use super::Moments;
use crate::{
    Seeded,
    crashes::{
        image::Image,
        scenario::{Ground, Level, Record, Recovery, Scenario, State, Verdict},
        setting::explained,
        sources::Sources,
        violation::{Promise, Violation, guarded},
    },
};

/// Sessions that begin and end at random, several at once.
pub(super) struct SessionsAlone;

const DIRECTORY: &str = "/sessions";
const STEPS: usize = 60;

/// Whether each session is certain to be found; one that is not named here is not to be found.
#[derive(Debug, Clone, Default, Hash)]
struct Begun {
    is_certain: BTreeMap<u64, bool>,
    has_directory: bool,
}

impl Scenario for SessionsAlone {
    fn name(&self) -> &'static str {
        "below-sessions"
    }

    fn level(&self) -> Level {
        Level::Below
    }

    fn play(&self, ground: &Ground, _: &Sources, seed: u64) -> io::Result<Box<dyn Record>> {
        let disk = &ground.disk;
        let mut moments = Moments::new(disk, Begun::default());
        let directory = Path::new(DIRECTORY);
        let made = disk
            .create_directory(directory)
            .and_then(|()| disk.sync_directory(Path::new("/")));
        if made.is_err() {
            return Ok(Box::new(moments));
        }
        let machine = disk.machine(seed);
        let mut seeded = Seeded::new(seed);
        let mut begun = Begun {
            has_directory: true,
            ..Begun::default()
        };
        moments.note(&begun);
        let mut live: Vec<Session> = Vec::new();
        for _ in 0..STEPS {
            if live.is_empty() || seeded.below(2) == 0 {
                let id = seeded.next_u64();
                begun.is_certain.insert(id, false);
                moments.note(&begun);
                if let Ok(session) = Session::create(&machine, directory, SessionId::new(id), &about(id)) {
                    begun.is_certain.insert(id, true);
                    moments.note(&begun);
                    live.push(session);
                }
            } else {
                let ended = live.swap_remove(seeded.index(live.len()));
                begun.is_certain.insert(ended.id().get(), false);
                moments.note(&begun);
                match ended.end() {
                    Ok(()) | Err(_) => {}
                }
            }
        }
        for session in &live {
            begun.is_certain.insert(session.id().get(), false);
        }
        moments.note(&begun);
        Ok(Box::new(moments))
    }
}

fn about(id: u64) -> SessionInfo {
    SessionInfo {
        pid: u32::try_from(id % 1000).expect("small"),
        host_name: "simulated".to_owned(),
        started_unix_seconds: 1,
        command: "crash".to_owned(),
    }
}

impl Begun {
    /// Finds the dead, judges them, and buries them.
    fn bury(&self, machine: &Machine) -> Result<(), Violation> {
        let fails = |error: HostError| Promise::Opens.broken(explained(&error));
        let mut missing: Vec<u64> = self
            .is_certain
            .iter()
            .filter(|(_, is_certain)| **is_certain)
            .map(|(id, _)| *id)
            .collect();
        for seen in sessions(machine, Path::new(DIRECTORY)).map_err(fails)? {
            let id = seen.id.get();
            missing.retain(|wanted| *wanted != id);
            let SessionState::Dead(dead) = seen.state else {
                return Err(Promise::Content.broken(format!("session {id:016x} lives")));
            };
            if !self.is_certain.contains_key(&id) {
                return Err(Promise::Content.broken(format!("session {id:016x} was never begun")));
            }
            if dead.info() != Some(&about(id)) {
                return Err(Promise::Content.broken(format!("session {id:016x} says {:?}", dead.info())));
            }
            dead.remove().map_err(fails)?;
        }
        match missing.first() {
            Some(id) => Err(Promise::Content.broken(format!("session {id:016x} is not found"))),
            None => Ok(()),
        }
    }
}

impl State for Begun {
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn check(&self, image: &Image, seed: u64) -> Result<Verdict, Violation> {
        if !self.has_directory {
            return Ok(Verdict::default());
        }
        guarded(|| {
            let disk = image.fork();
            let machine = disk.machine(seed ^ 0x5EED_0005);
            self.bury(&machine)?;
            let perhaps = self.is_certain.keys().map(|id| (*id, false)).collect();
            let buried = Self {
                is_certain: perhaps,
                has_directory: true,
            };
            let recovery = Recovery::until_now(&disk, Box::new(buried));
            let left = glance_at_sessions(&machine, Path::new(DIRECTORY));
            let left = left.map_err(|error| Promise::Opens.broken(explained(&error)))?;
            if let Some(left) = left.first() {
                return Err(Promise::RecoversOnce.broken(format!("session {left:?} was buried")));
            }
            Ok(Verdict {
                minor: Vec::new(),
                recovery: Some(recovery),
            })
        })
    }
}

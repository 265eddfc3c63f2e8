//! The timeline: what it says of each moment, against a model that knows only the last sync of everything.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bfdb::storage::{FileAccess, FileIdentity, Replace, Storage as _, StorageFile};
use bfdb_fault_injection::{
    Seeded, SimulatedStorage,
    simulation::{CrashPoint, CrashVariant, Limits, OperationKind},
};

use super::{dump, line};

fn path(path: &str) -> &Path {
    Path::new(path)
}

/// What is durable: of each file its bytes at its last sync, of each directory its names at its last sync.
#[derive(Default)]
struct Model {
    bytes: BTreeMap<FileIdentity, Vec<u8>>,
    names: BTreeMap<&'static str, BTreeMap<String, FileIdentity>>,
}

impl Model {
    fn dump(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::from([("/d/".to_owned(), Vec::new())]);
        for (directory, names) in &self.names {
            for (name, id) in names.iter().filter(|(name, _)| *name != "d") {
                let path = format!("{}/{name}", directory.trim_end_matches('/'));
                found.insert(path, self.bytes.get(id).cloned().unwrap_or_default());
            }
        }
        found
    }
}

fn whole(file: &dyn StorageFile) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.info().unwrap().len_bytes).unwrap()];
    file.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

/// Does something that `seeded` chooses, on the disk and in the model.
fn step(
    disk: &SimulatedStorage,
    files: &mut Vec<Arc<dyn StorageFile>>,
    model: &mut Model,
    seeded: &mut Seeded,
) {
    const PLACES: [&str; 5] = ["/a", "/b", "/d/a", "/d/b", "/c"];
    let [place, other] = [0, 1].map(|_| path(PLACES[seeded.index(5)]));
    let file = files.get(seeded.index(files.len().max(1))).map(Arc::clone);
    match (seeded.below(9), file) {
        (0, _) => files.extend(disk.create_new(place)),
        // What cannot be done is not recorded, and so is nothing to compare.
        (1, _) => disk.rename(place, other, Replace::File).unwrap_or_default(),
        (2, _) => disk.remove_file(place).unwrap_or_default(),
        (3, _) => {
            let directory = ["/", "/d"][seeded.index(2)];
            disk.sync_directory(path(directory)).unwrap();
            let names = disk.list(path(directory)).unwrap().into_iter().map(|name| {
                let id = disk.inspect(&path(directory).join(&name)).unwrap().id;
                (name.into_string().unwrap(), id)
            });
            model.names.insert(directory, names.collect());
        }
        (4, Some(file)) => {
            file.sync_data().unwrap();
            model.bytes.insert(file.info().unwrap().id, whole(&*file));
        }
        (5, Some(file)) => file.set_len(seeded.below(10_000)).unwrap(),
        (6, Some(file)) => file.allocate(seeded.below(10_000)).unwrap(),
        (_, Some(file)) => {
            let bytes: Vec<u8> = (0..seeded.index(9000)).map(|_| seeded.flip_mask()).collect();
            file.write_all_at(seeded.below(9000), &bytes).unwrap();
        }
        (_, None) => {}
    }
}

#[test]
fn a_crash_leaves_at_least_what_was_synced_and_at_most_what_was_seen() {
    for seed in 0..40 {
        let disk = SimulatedStorage::new();
        disk.create_directory(path("/d")).unwrap();
        let disk = disk.settled();
        let mut seeded = Seeded::new(seed);
        let (mut files, mut model) = (Vec::new(), Model::default());
        let mut moments = vec![(model.dump(), dump(&disk))];
        for _ in 0..120 {
            step(&disk, &mut files, &mut model, &mut seeded);
            let count = usize::try_from(disk.counts().mutating()).unwrap();
            moments.truncate(count);
            moments.push((model.dump(), dump(&disk)));
        }
        let timeline = disk.timeline();
        assert_eq!(moments.len(), timeline.boundaries().count(), "seed {seed}");
        // Backwards, since an image depends on nothing that was asked before.
        for (point, (durable, live)) in timeline
            .boundaries()
            .zip(&moments)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let image = |variant| timeline.image(point, &variant);
            assert_eq!(
                &dump(&image(CrashVariant::Nothing)),
                durable,
                "seed {seed}, {point:?}"
            );
            let everything = image(CrashVariant::Everything);
            assert_eq!(&dump(&everything), live, "seed {seed}, {point:?}");
            let count = timeline.pending(point).len();
            let same = [CrashVariant::Prefix(count), CrashVariant::Everything].map(image);
            assert!(
                same.iter()
                    .all(|image| image.fingerprint() == everything.fingerprint())
            );
        }
    }
}

#[test]
fn equal_images_have_equal_fingerprints_and_others_do_not() {
    let disk = SimulatedStorage::new();
    disk.create_directory(path("/d")).unwrap();
    let (mut files, mut model, mut seeded) = (Vec::new(), Model::default(), Seeded::new(11));
    for _ in 0..80 {
        step(&disk, &mut files, &mut model, &mut seeded);
    }
    let timeline = disk.timeline();
    let mut by_fingerprint = BTreeMap::new();
    let mut by_content = BTreeMap::new();
    let mut count = 0;
    for point in timeline.boundaries() {
        for variant in timeline.variants_at(point, &mut seeded, &Limits::new(8)) {
            let image = timeline.image(point, &variant);
            // Blocks and shared names count, beside the bytes.
            let files = dump(&image).into_iter().map(|(name, bytes)| {
                let info = image.inspect(path(name.trim_end_matches('/'))).unwrap();
                (name, bytes, info.allocated_bytes, info.links)
            });
            let content = files.collect::<Vec<_>>();
            let fingerprint = image.fingerprint();
            assert_eq!(
                by_fingerprint.entry(fingerprint).or_insert(content.clone()),
                &content
            );
            assert_eq!(by_content.entry(content).or_insert(fingerprint), &fingerprint);
            count += 1;
        }
    }
    assert!(
        by_content.len() > 400 && by_content.len() < count,
        "{} of {count}",
        by_content.len()
    );
}

#[test]
fn an_image_is_a_disk_of_its_own_whose_recovery_can_be_crashed_too() {
    let disk = SimulatedStorage::new();
    let file = disk.create_new(path("/f")).unwrap();
    assert!(file.try_lock(bfdb::storage::Lock::Exclusive).unwrap());
    file.write_all_at(0, b"first").unwrap();
    disk.sync_directory(path("/")).unwrap();
    let timeline = disk.timeline();
    let point = timeline.boundaries().last().unwrap();
    let image = timeline.image(point, &CrashVariant::Everything);
    assert_eq!(image.counts().mutating(), 0);
    let recovered = image.open(path("/f"), FileAccess::ReadWrite).unwrap();
    assert!(
        recovered.try_lock(bfdb::storage::Lock::Exclusive).unwrap(),
        "locks die with the machine"
    );
    recovered.write_all_at(0, b"again").unwrap();
    let second = image.timeline();
    let crash = |after_operation, variant| line(&second.image(CrashPoint { after_operation }, &variant));
    assert_eq!(
        crash(1, CrashVariant::Nothing),
        "/f=f+i+r+s+t",
        "what survived a crash is durable"
    );
    assert_eq!(crash(1, CrashVariant::Everything), "/f=a+g+a+i+n");
    assert_eq!(
        line(&timeline.image(point, &CrashVariant::Everything)),
        "/f=f+i+r+s+t"
    );
    assert_eq!(line(&disk), "/f=f+i+r+s+t", "nothing leads back");
}

#[test]
fn markers_stand_between_the_operations() {
    let disk = SimulatedStorage::new();
    disk.marker("begun");
    let file = disk.create_new(path("/f")).unwrap();
    file.sync_all().unwrap();
    disk.marker("synced");
    file.write_all_at(0, b"x").unwrap();
    let timeline = disk.timeline();
    let seen = |after_operation| {
        let markers = timeline.markers_before(CrashPoint { after_operation });
        markers
            .iter()
            .map(|marker| marker.tag.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        [0, 1, 2, 3].map(seen),
        ["begun", "begun", "begun synced", "begun synced"]
    );
    let kinds: Vec<_> = timeline
        .operations()
        .iter()
        .map(|operation| (operation.number(), operation.kind()))
        .collect();
    let expected = [
        (1, OperationKind::CreateFile),
        (2, OperationKind::SyncFile),
        (3, OperationKind::Write),
    ];
    assert_eq!(kinds, expected);
    let last = &timeline.operations()[2];
    assert_eq!(
        (last.path(), last.range(), last.took_effect()),
        (path("/f"), 0..1, true)
    );
}

#[test]
fn what_cannot_be_done_is_not_in_the_timeline() {
    let disk = SimulatedStorage::new();
    disk.create_new(path("/f")).unwrap();
    disk.create_new(path("/f")).unwrap_err();
    disk.remove_file(path("/g")).unwrap_err();
    disk.open(path("/f"), FileAccess::Read)
        .unwrap()
        .write_at(0, b"x")
        .unwrap_err();
    assert_eq!(disk.counts().mutating(), 1);
    assert_eq!(disk.timeline().operations().len(), 1);
}

#[test]
fn a_settled_disk_begins_anew_with_everything_durable() {
    let disk = SimulatedStorage::with_capacity(100_000);
    let file = disk.create_new(path("/f")).unwrap();
    file.write_all_at(0, b"x").unwrap();
    let nameless = disk.create_new(path("/gone")).unwrap();
    nameless.write_all_at(0, &[1; 5000]).unwrap();
    disk.remove_file(path("/gone")).unwrap();
    let settled = disk.settled();
    assert_eq!(settled.counts().mutating(), 0);
    let nothing = settled
        .timeline()
        .image(CrashPoint { after_operation: 0 }, &CrashVariant::Nothing);
    assert_eq!(line(&nothing), "/f=x");
    assert_eq!(settled.free_bytes(Path::new("/")).unwrap(), 100_000 - 4096);
    assert_eq!(PathBuf::from("/f"), settled.canonical(path("/f")).unwrap());
}

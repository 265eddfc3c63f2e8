//! Each class of crashes on a script of a few operations, with all images that it can leave.

use std::{collections::BTreeSet, path::Path};

use bfdb::storage::{Replace, Storage as _};
use bfdb_fault_injection::{
    Seeded, SimulatedStorage,
    simulation::{Beside, CrashClass, CrashVariant, LateBytes, Limits, RenameShape, Timeline, TornPart},
};

use super::{bytes_of, line};

fn path(path: &str) -> &Path {
    Path::new(path)
}

/// A disk with a durable file of these bytes.
fn disk_with(name: &str, bytes: &[u8]) -> SimulatedStorage {
    let disk = SimulatedStorage::new();
    let file = disk.create_new(path(name)).unwrap();
    file.write_all_at(0, bytes).unwrap();
    drop(file);
    disk.settled()
}

/// What a crash after the last operation leaves, variant by variant.
fn left(timeline: &Timeline, variant: &CrashVariant) -> String {
    line(&timeline.image(timeline.boundaries().last().unwrap(), variant))
}

fn all_variants(timeline: &Timeline) -> Vec<CrashVariant> {
    let point = timeline.boundaries().last().unwrap();
    timeline
        .variants_at(point, &mut Seeded::new(1), &Limits::exhaustive(200))
        .collect()
}

/// All images of the variants of one class after the last operation.
fn images(timeline: &Timeline, class: CrashClass) -> BTreeSet<String> {
    let variants = all_variants(timeline)
        .into_iter()
        .filter(|variant| variant.class() == class);
    variants.map(|variant| left(timeline, &variant)).collect()
}

fn set<const N: usize>(lines: [&str; N]) -> BTreeSet<String> {
    lines.into_iter().map(str::to_owned).collect()
}

/// Three writes to a durable file, none synced.
fn three_writes() -> Timeline {
    let disk = disk_with("/f", b"----");
    let file = disk
        .open(path("/f"), bfdb::storage::FileAccess::ReadWrite)
        .unwrap();
    file.write_all_at(0, b"a").unwrap();
    file.write_all_at(1, b"b").unwrap();
    file.write_all_at(2, b"c").unwrap();
    disk.timeline()
}

#[test]
fn pending_writes_survive_in_every_combination() {
    let timeline = three_writes();
    let of = |class| images(&timeline, class);
    assert_eq!(of(CrashClass::Nothing), set(["/f=4-"]));
    assert_eq!(of(CrashClass::Everything), set(["/f=a+b+c+-"]));
    assert_eq!(of(CrashClass::Only), set(["/f=a+3-", "/f=-+b+2-", "/f=2-+c+-"]));
    assert_eq!(
        of(CrashClass::AllBut),
        set(["/f=-+b+c+-", "/f=a+-+c+-", "/f=a+b+2-"])
    );
    assert_eq!(of(CrashClass::Prefix), set(["/f=a+3-", "/f=a+b+2-"]));
    let all = [
        "/f=4-",
        "/f=a+b+c+-",
        "/f=a+3-",
        "/f=-+b+2-",
        "/f=2-+c+-",
        "/f=-+b+c+-",
        "/f=a+-+c+-",
        "/f=a+b+2-",
    ];
    assert_eq!(of(CrashClass::Random), set(all), "200 throws of three coins");
}

#[test]
fn a_sync_of_the_file_settles_its_bytes_and_not_its_name() {
    let disk = SimulatedStorage::new();
    let file = disk.create_new(path("/f")).unwrap();
    file.write_all_at(0, b"a").unwrap();
    file.sync_all().unwrap();
    let unnamed = disk.timeline();
    assert_eq!(
        left(&unnamed, &CrashVariant::Nothing),
        "",
        "the name is lost, and the file with it"
    );
    assert_eq!(
        left(&unnamed, &CrashVariant::Only(0)),
        "/f=a",
        "with the name come the synced bytes"
    );
    disk.sync_directory(path("/")).unwrap();
    assert_eq!(left(&disk.timeline(), &CrashVariant::Nothing), "/f=a");
}

#[test]
fn a_sync_of_the_directory_settles_the_name_and_not_the_bytes() {
    let disk = SimulatedStorage::new();
    let file = disk.create_new(path("/f")).unwrap();
    file.write_all_at(0, b"a").unwrap();
    disk.sync_directory(path("/")).unwrap();
    let timeline = disk.timeline();
    assert_eq!(left(&timeline, &CrashVariant::Nothing), "/f=");
    assert_eq!(left(&timeline, &CrashVariant::Everything), "/f=a");
}

#[test]
fn a_directory_that_is_lost_takes_everything_in_it_along() {
    let disk = SimulatedStorage::new();
    disk.create_directory(path("/d")).unwrap();
    disk.create_new(path("/d/f")).unwrap().sync_all().unwrap();
    disk.sync_directory(path("/d")).unwrap();
    let timeline = disk.timeline();
    assert_eq!(left(&timeline, &CrashVariant::Nothing), "");
    assert_eq!(left(&timeline, &CrashVariant::Everything), "/d/ /d/f=");
}

#[test]
fn a_removed_name_comes_back_until_its_directory_is_synced() {
    let disk = disk_with("/f", b"a");
    disk.remove_file(path("/f")).unwrap();
    assert_eq!(left(&disk.timeline(), &CrashVariant::Nothing), "/f=a");
    assert_eq!(left(&disk.timeline(), &CrashVariant::Everything), "");
    disk.sync_directory(path("/")).unwrap();
    assert_eq!(left(&disk.timeline(), &CrashVariant::Nothing), "");
}

#[test]
fn lengths_and_allocations_are_pending_like_writes() {
    let disk = disk_with("/f", b"abcd");
    let file = disk
        .open(path("/f"), bfdb::storage::FileAccess::ReadWrite)
        .unwrap();
    file.set_len(1).unwrap();
    file.allocate(3).unwrap();
    let timeline = disk.timeline();
    let of = |class| images(&timeline, class);
    assert_eq!(of(CrashClass::Everything), set(["/f=a+20"]));
    // Without the cut the allocation has nothing to do.
    assert_eq!(of(CrashClass::Only), set(["/f=a", "/f=a+b+c+d"]));
    file.sync_data().unwrap();
    assert_eq!(left(&disk.timeline(), &CrashVariant::Nothing), "/f=a+20");
}

#[test]
fn a_write_is_torn_at_sectors_pages_and_any_byte() {
    let disk = disk_with("/f", &[b'-'; 4608]);
    let file = disk
        .open(path("/f"), bfdb::storage::FileAccess::ReadWrite)
        .unwrap();
    file.write_all_at(3584, &[b'x'; 1024]).unwrap();
    let timeline = disk.timeline();
    let of = |class| images(&timeline, class);
    assert_eq!(
        of(CrashClass::TornAtPage),
        set(["/f=3584-+512x+512-", "/f=4096-+512x"])
    );
    assert_eq!(
        of(CrashClass::TornAtSector),
        set([]),
        "the one sector border inside is that of a page"
    );
    // 1023 tears inside, one of them at the page; two sides each.
    assert_eq!(of(CrashClass::TornAtByte).len(), 2 * 1022);
    assert!(of(CrashClass::TornAtByte).contains("/f=3584-+1x+1023-".replace("1x", "x").as_str()));
    file.write_all_at(0, &[b'y'; 1024]).unwrap();
    let both = disk.timeline();
    let torn = |beside, part| {
        let at = 512;
        left(
            &both,
            &CrashVariant::TornWrite {
                write: 1,
                at,
                part,
                beside,
            },
        )
    };
    assert_eq!(torn(Beside::Nothing, TornPart::Head), "/f=512y+4096-");
    assert_eq!(torn(Beside::Nothing, TornPart::Tail), "/f=512-+512y+3584-");
    assert_eq!(torn(Beside::Older, TornPart::Head), "/f=512y+3072-+1024x");
    for beside in [Beside::Nothing, Beside::Older] {
        let (write, at, part) = (0, 4096, TornPart::Head);
        let variant = CrashVariant::TornWrite {
            write,
            at,
            part,
            beside,
        };
        assert_eq!(
            left(&both, &variant),
            "/f=3584-+512x+512-",
            "what is newer is lost"
        );
    }
    let classes: BTreeSet<CrashClass> = all_variants(&both).iter().map(CrashVariant::class).collect();
    assert!(classes.contains(&CrashClass::TornAtSector));
}

#[test]
fn a_torn_sector_is_noise_from_end_to_end_and_nothing_else_is() {
    let disk = disk_with("/f", &[b'-'; 1536]);
    let file = disk
        .open(path("/f"), bfdb::storage::FileAccess::ReadWrite)
        .unwrap();
    file.write_all_at(400, &[b'x'; 300]).unwrap();
    let timeline = disk.timeline();
    let garbage: Vec<CrashVariant> = all_variants(&timeline)
        .into_iter()
        .filter(|variant| variant.class() == CrashClass::GarbageInTornSector)
        .collect();
    let sector_of = |variant: &CrashVariant| {
        if let CrashVariant::GarbageInTornSector { sector, .. } = variant {
            Some(*sector)
        } else {
            None
        }
    };
    let sectors: Vec<(u64, u64)> = garbage.iter().filter_map(sector_of).collect();
    assert_eq!(sectors, [(0, 512), (512, 1024), (0, 4096)]);
    let point = timeline.boundaries().last().unwrap();
    let bytes = bytes_of(&timeline.image(point, &garbage[1]), "/f");
    assert_eq!(bytes[..400], [b'-'; 400]);
    assert_eq!(
        bytes[400..512],
        [b'x'; 112],
        "before the sector the write arrived"
    );
    let changed = bytes[700..1024].iter().filter(|byte| **byte != b'-').count();
    assert!(changed > 300, "the rest of the sector is noise too: {changed}");
    assert_eq!(bytes[1024..], [b'-'; 512]);
}

#[test]
fn lengths_may_arrive_before_the_bytes() {
    let disk = SimulatedStorage::new();
    for name in ["/f", "/g"] {
        disk.create_new(path(name))
            .unwrap()
            .write_all_at(0, b"--")
            .unwrap();
    }
    let disk = disk.settled();
    for name in ["/f", "/g"] {
        let file = disk
            .open(path(name), bfdb::storage::FileAccess::ReadWrite)
            .unwrap();
        file.write_all_at(1, b"xyz").unwrap();
    }
    let timeline = disk.timeline();
    let of = |class| images(&timeline, class);
    let late = ["/f=2-+20 /g=-+x+y+z", "/f=-+x+y+z /g=2-+20", "/f=2-+20 /g=2-+20"];
    assert_eq!(of(CrashClass::SizeBeforeData), set(late));
    assert_eq!(
        left(&timeline, &CrashVariant::SizeBeforeData(LateBytes::All)),
        "/f=2-+20 /g=2-+20"
    );
    let point = timeline.boundaries().last().unwrap();
    let image = timeline.image(point, &CrashVariant::SizeBeforeData(LateBytes::FileOf(0)));
    assert_eq!(image.inspect(path("/f")).unwrap().allocated_bytes, 4096);
}

#[test]
fn a_created_name_is_lost_although_the_file_is_durable() {
    let disk = SimulatedStorage::new();
    for name in ["/f", "/g"] {
        let file = disk.create_new(path(name)).unwrap();
        file.write_all_at(0, b"a").unwrap();
        file.sync_all().unwrap();
    }
    assert_eq!(
        images(&disk.timeline(), CrashClass::LostDirectoryEntry),
        set(["/g=a", "/f=a"])
    );
}

/// "new" takes the place of "f"; nothing is synced.
fn replacing() -> SimulatedStorage {
    let disk = SimulatedStorage::new();
    for (name, bytes) in [("/f", b"o"), ("/new", b"n")] {
        disk.create_new(path(name))
            .unwrap()
            .write_all_at(0, bytes)
            .unwrap();
    }
    let disk = disk.settled();
    disk.rename(path("/new"), path("/f"), Replace::File).unwrap();
    disk
}

#[test]
fn a_renaming_is_undone_halved_or_lost_until_its_directory_is_synced() {
    let disk = replacing();
    let timeline = disk.timeline();
    let of = |class| images(&timeline, class);
    assert_eq!(of(CrashClass::Nothing), set(["/f=o /new=n"]));
    assert_eq!(of(CrashClass::Everything), set(["/f=n"]));
    assert_eq!(of(CrashClass::UndoneRename), set(["/f=o /new=n", "/f=n /new=n"]));
    assert_eq!(of(CrashClass::LostDirectoryEntry), set(["/f=o"]));
    let both = CrashVariant::UndoneRename {
        rename: 0,
        shape: RenameShape::BothNames,
    };
    let image = timeline.image(timeline.boundaries().last().unwrap(), &both);
    let [first, second] = ["/f", "/new"].map(|name| image.inspect(path(name)).unwrap());
    assert_eq!((first.id, first.links), (second.id, 2), "one file with two names");
    disk.sync_directory(path("/")).unwrap();
    let variants = all_variants(&disk.timeline());
    assert_eq!(variants, [CrashVariant::Nothing], "nothing is pending any more");
}

#[test]
fn a_renaming_into_another_directory_needs_both_to_be_synced() {
    let disk = SimulatedStorage::new();
    disk.create_directory(path("/d")).unwrap();
    disk.create_new(path("/f"))
        .unwrap()
        .write_all_at(0, b"a")
        .unwrap();
    let disk = disk.settled();
    disk.rename(path("/f"), path("/d/f"), Replace::Never).unwrap();
    let crash = |disk: &SimulatedStorage| {
        let timeline = disk.timeline();
        [CrashVariant::Nothing, CrashVariant::Everything].map(|variant| left(&timeline, &variant))
    };
    assert_eq!(crash(&disk), ["/d/ /f=a", "/d/ /d/f=a"]);
    let other_way = disk.timeline();
    disk.sync_directory(path("/")).unwrap();
    assert_eq!(
        crash(&disk),
        ["/d/", "/d/ /d/f=a"],
        "the old name is gone for sure, the new one may be lost"
    );
    disk.sync_directory(path("/d")).unwrap();
    assert_eq!(crash(&disk), ["/d/ /d/f=a"; 2]);
    let again = other_way.image(other_way.boundaries().next().unwrap(), &CrashVariant::Nothing);
    again.rename(path("/f"), path("/d/f"), Replace::Never).unwrap();
    again.sync_directory(path("/d")).unwrap();
    assert_eq!(crash(&again), ["/d/ /d/f=a /f=a", "/d/ /d/f=a"], "both names");
}

#[test]
fn a_later_file_of_a_name_survives_without_the_removal_of_the_first() {
    let disk = disk_with("/f", b"1");
    disk.remove_file(path("/f")).unwrap();
    disk.create_new(path("/f")).unwrap();
    let timeline = disk.timeline();
    assert_eq!(images(&timeline, CrashClass::Only), set(["", "/f="]));
    assert_eq!(left(&timeline, &CrashVariant::Nothing), "/f=1");
}

#[test]
fn every_class_that_applies_is_tried_whatever_the_limit() {
    let disk = replacing();
    let file = disk.create_new(path("/big")).unwrap();
    for at in 0..20 {
        file.write_all_at(at * 10_000, &[b'x'; 10_000]).unwrap();
    }
    let timeline = disk.timeline();
    let point = timeline.boundaries().last().unwrap();
    for seed in 0..50 {
        let chosen: Vec<CrashVariant> = timeline
            .variants_at(point, &mut Seeded::new(seed), &Limits::new(1))
            .collect();
        let classes: BTreeSet<CrashClass> = chosen.iter().map(CrashVariant::class).collect();
        assert_eq!(classes.len(), 13, "seed {seed}: {classes:?}");
        assert!(chosen.len() < 30, "seed {seed}: {}", chosen.len());
        chosen
            .iter()
            .for_each(|variant| drop(timeline.image(point, variant)));
    }
    let limits = Limits::new(1).without(CrashClass::GarbageInTornSector);
    let mut chosen = timeline.variants_at(point, &mut Seeded::new(0), &limits);
    assert!(chosen.all(|variant| variant.class() != CrashClass::GarbageInTornSector));
}

#[test]
#[should_panic(expected = "is not about a boundary with 3 pending changes")]
fn a_variant_of_another_boundary_is_refused() {
    left(&three_writes(), &CrashVariant::AllBut(3));
}

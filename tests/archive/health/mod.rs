//! What is answered about health, against a recount of everything.

mod recount;

use std::collections::BTreeSet;

use bfdb::{
    archive::{
        ArchiveHealth, FileHealth, FileLoss, HealthClass, HealthQuery, HealthState, Loss, Snapshot,
        VerificationAges,
    },
    catalog::ShardOwner,
    error::CatalogError,
    geometry::Tier,
    units::{ExtentId, VolumeId},
};
use bfdb_fault_injection::Seeded;

use crate::support::{Store, edge_lengths, name, painted};
use recount::{Recount, at};

const HEALTHY: HealthClass = HealthClass::State(HealthState::Healthy);
const DEGRADED: HealthClass = HealthClass::State(HealthState::Degraded);
const LOST: HealthClass = HealthClass::State(HealthState::Lost);

const DAY: i64 = 24 * 60 * 60;

/// Files of every tier, an empty one and one of one block among them, in two directories.
fn store() -> Store {
    let store = Store::in_memory(crate::support::small_policy(), bfdb::Resources::default());
    for (number, len) in edge_lengths()
        .into_iter()
        .enumerate()
        .filter(|(number, _)| number % 3 == 0)
    {
        let directory = ["a", "ab"][number % 2];
        store.put(&format!("{directory}/{number}"), &painted(len, 1));
    }
    let sources = ["a", "ab"].map(|directory| {
        let path = store.dir.path().join(directory);
        std::fs::create_dir(&path).unwrap();
        (directory, path)
    });
    for (directory, path) in sources {
        drop(store.archive.commit_path(&name(directory), &path, &()).unwrap());
    }
    store
}

fn listed(snapshot: &Snapshot, query: &HealthQuery) -> Vec<FileHealth> {
    snapshot.health(query).collect::<Result<_, _>>().unwrap()
}

fn check_totals(snapshot: &Snapshot, recount: &Recount) {
    let healths = recount.healths();
    let count = |class| healths.iter().filter(|health| health.is_in(class)).count();
    let totals: ArchiveHealth = snapshot.health_totals().unwrap();
    let known = totals.known;
    let counted = [
        totals.healthy_files(),
        known.degraded_files,
        known.lost_files,
        known.unverified_files,
    ];
    let classes = [HEALTHY, DEGRADED, LOST, HealthClass::Unverified];
    assert_eq!(counted, classes.map(|class| u64::try_from(count(class)).unwrap()));
    assert_eq!(known.damaged_shards, u64::try_from(recount.damage.len()).unwrap());
    let of_descriptors = |owner| matches!(owner, ShardOwner::Descriptor(_));
    let descriptors = recount
        .damage
        .values()
        .filter(|damage| of_descriptors(damage.owner));
    let blocks: BTreeSet<_> = descriptors.map(|damage| damage.block).collect();
    assert_eq!(known.damaged_descriptors, u64::try_from(blocks.len()).unwrap());
    let worst = healths.iter().map(|health| health.state).max().unwrap();
    let least = if recount.damage.is_empty() {
        HealthState::Healthy
    } else {
        HealthState::Degraded
    };
    assert_eq!(totals.state(), worst.max(least));
}

/// Every set of classes beside every other part of a query.
fn queries(now: i64, volume: VolumeId) -> Vec<HealthQuery> {
    let classes = [HEALTHY, DEGRADED, LOST, HealthClass::Unverified];
    let tiers = [Tier::Tiny, Tier::Segmented, Tier::Blocked];
    let mut queries = Vec::new();
    for set in 0..16_usize {
        let chosen = |(bit, class): (usize, &HealthClass)| (set >> bit & 1 == 1).then_some(*class);
        let of_classes = HealthQuery {
            classes: classes.iter().enumerate().filter_map(chosen).collect(),
            looks_up_last_verified: true,
            ..HealthQuery::default()
        };
        let with = |change: &dyn Fn(&mut HealthQuery)| {
            let mut query = of_classes.clone();
            change(&mut query);
            query
        };
        queries.extend([
            of_classes.clone(),
            with(&|query| query.tiers = tiers[..2].iter().copied().collect()),
            with(&|query| query.prefix = Some(name("a"))),
            with(&|query| query.prefix = Some(name("ab/33"))),
            with(&|query| query.not_verified_since = Some(at(now - 5))),
            with(&|query| query.volume = Some(volume)),
            with(&|query| query.volume = Some(VolumeId::from_bytes([7; 16]))),
        ]);
        queries.extend((0..5).map(|margin| with(&|query| query.margin_at_most = Some(margin))));
    }
    queries
}

fn check_queries(snapshot: &Snapshot, recount: &Recount, now: i64) {
    for query in queries(now, recount.extents[0].volume) {
        assert_eq!(listed(snapshot, &query), recount.asked(&query), "{query:?}");
    }
    let times: BTreeSet<_> = recount
        .healths()
        .iter()
        .filter_map(|health| health.last_verified)
        .collect();
    for time in times {
        let query = HealthQuery {
            not_verified_since: Some(time),
            ..HealthQuery::default()
        };
        assert_eq!(listed(snapshot, &query), recount.asked(&query), "{query:?}");
    }
    for expected in recount.healths() {
        let found = snapshot.file_health(&expected.file.name).unwrap();
        assert_eq!(found.as_ref(), Some(&expected));
    }
    assert_eq!(
        snapshot.file_health(&name("a")).unwrap(),
        None,
        "a directory has no health"
    );
    let classes: Vec<_> = snapshot.files_with_class(None).collect::<Result<_, _>>().unwrap();
    let healths = recount.healths();
    for (info, class) in &classes {
        let health = healths.iter().find(|health| health.file == *info);
        assert_eq!(*class, health.map(FileHealth::class), "{}", info.name);
    }
    assert_eq!(classes.len(), recount.files.len());
}

fn check_what_if(snapshot: &Snapshot, recount: &Recount) {
    let extents: Vec<Loss> = recount
        .extents
        .iter()
        .map(|extent| Loss::Extent(extent.id))
        .collect();
    let mut cases: Vec<Vec<Loss>> = extents.iter().map(|loss| vec![*loss]).collect();
    cases.extend(extents.windows(2).map(<[Loss]>::to_vec));
    cases.extend((3..=extents.len()).map(|count| extents[..count].to_vec()));
    cases.extend([vec![], vec![Loss::Volume(recount.extents[0].volume)]]);
    cases.push(vec![extents[0], Loss::Volume(recount.extents[0].volume)]);
    for losses in cases {
        let (report, files) = recount.losses(&losses);
        assert_eq!(snapshot.what_if(&losses).unwrap(), report, "{losses:?}");
        let listing = snapshot.what_if_files(&losses).unwrap();
        let mut found: Vec<FileLoss> = listing.collect::<Result<_, _>>().unwrap();
        found.sort_by(|left, right| left.file.name.cmp(&right.file.name));
        assert_eq!(found, files, "{losses:?}");
    }
}

fn check_known_damage(snapshot: &Snapshot, recount: &Recount) {
    let healths = recount.healths();
    for (file, blocks) in &recount.files {
        let mut expected = Vec::new();
        for block in blocks {
            for shard in block.shards.iter().flatten() {
                let damage = recount.damage.get(&shard.address());
                expected.extend(damage.map(|damage| {
                    (
                        block.index,
                        damage.shard,
                        damage.address.extent,
                        damage.columns.clone(),
                    )
                }));
            }
        }
        let found: Vec<_> = snapshot
            .known_damage(&file.name)
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let all = found
            .iter()
            .map(|found| (found.block, found.shard, found.extent, found.columns.clone()));
        assert_eq!(all.collect::<Vec<_>>(), expected, "{}", file.name);
        let mut lost = healths.iter().filter(|health| health.lost_bytes > 0);
        let is_lost = lost.any(|health| health.file.file == file.id);
        assert_eq!(found.iter().any(|found| !found.is_recoverable), is_lost);
    }
}

fn check_ages(snapshot: &Snapshot, recount: &Recount, now: i64) {
    let mut ages = VerificationAges::default();
    for extent in recount.extents.iter().filter(|extent| extent.live_shards > 0) {
        for &verified in &recount.verified[&extent.id] {
            let days = (now - verified).div_euclid(DAY);
            *match (verified, days) {
                (0, _) => &mut ages.never,
                (_, ..=0) => &mut ages.under_a_day,
                (_, 1..=6) => &mut ages.under_a_week,
                (_, 7..=29) => &mut ages.under_a_month,
                (_, 30..=89) => &mut ages.under_three_months,
                (_, 90..) => &mut ages.older,
            } += 1;
        }
    }
    assert_eq!(snapshot.verification_ages(at(now)).unwrap(), ages);
}

#[test]
fn every_answer_about_health_is_that_of_a_recount_after_any_history() {
    let store = store();
    let mut recount = Recount::of(&store);
    let mut seeded = Seeded::new(11);
    for round in 0..12 {
        let snapshot = store.archive.snapshot().unwrap();
        let now = 1_000_000 + round * 100;
        check_totals(&snapshot, &recount);
        check_queries(&snapshot, &recount, now);
        check_what_if(&snapshot, &recount);
        check_known_damage(&snapshot, &recount);
        for later in [0, DAY, 7 * DAY, 30 * DAY, 90 * DAY] {
            check_ages(&snapshot, &recount, now + later - 50);
        }
        for step in 0..20 {
            recount.step(&mut seeded, now + step);
        }
        if round % 4 == 1 {
            recount.scrub_all(now + 20);
            store.put(&format!("b/{round}"), &painted(10_000, 2));
            recount.look();
        }
        if round % 4 == 3 {
            let file = recount.files[seeded.index(recount.files.len())].0.name.clone();
            drop(store.archive.remove(&file).unwrap());
            recount.look();
        }
    }
    let is_verified = |health: &FileHealth| health.last_verified.is_some();
    assert!(
        recount.healths().iter().any(is_verified),
        "some were read back whole"
    );
    assert!(
        recount.healths().iter().any(|health| health.is_unverified),
        "others were not"
    );
    let states: BTreeSet<HealthState> = recount.healths().iter().map(|health| health.state).collect();
    assert_eq!(states.len(), 3, "the history reaches every state: {states:?}");
}

#[test]
fn what_is_not_there_cannot_be_lost() {
    let store = Store::new();
    let snapshot = store.archive.snapshot().unwrap();
    let extent = ExtentId::new(77);
    let is_unknown =
        |error| matches!(error, CatalogError::UnknownExtent { extent: found } if found == extent);
    assert!(is_unknown(snapshot.what_if(&[Loss::Extent(extent)]).unwrap_err()));
    let two = [Loss::Extent(extent), Loss::Extent(ExtentId::new(78))];
    assert!(is_unknown(snapshot.what_if(&two).unwrap_err()));
    let volume = VolumeId::from_bytes([9; 16]);
    let error = snapshot.what_if_files(&[Loss::Volume(volume)]).unwrap_err();
    assert!(matches!(error, CatalogError::UnknownVolume { volume: found } if found == volume));
}

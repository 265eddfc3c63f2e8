//! Archives that are missing, made, locked, too new, or have lost their catalog.

use std::{fs, path::Path};

use bfdb::{
    archive::{Archive, ArchiveOptions, OpenOptions},
    catalog::{
        Access, ArchiveRecord, Catalog, CatalogOptions, Check, ExtentRecord, ExtentState, FORMAT_VERSION,
    },
    geometry::Policy,
    host::{ArchiveLayout, Building, Machine, Session, SessionInfo, SystemClock},
    units::{ArchiveId, CommitId, ExtentId, LaneIndex, SessionId, Timestamp},
};
use bfdb_fault_injection::{Seeded, damage};
use serde_json::json;

use crate::harness::Place;

/// Commands that open an archive, with arguments that are right.
const COMMANDS: [&[&str]; 14] = [
    &["ls"],
    &["status"],
    &["health"],
    &["what-if", "--lose", "extent:1"],
    &["stat", "a"],
    &["cat", "a"],
    &["verify"],
    &["scrub"],
    &["restore", "a", "-o", "out"],
    &["rm", "a"],
    &["recover"],
    &["volume", "ls"],
    &["volume", "add", "v"],
    &["commit", "a"],
];

#[test]
fn init_makes_an_archive_once() {
    let place = Place::new();
    let answer = place.run(["init", "-n"]).expect_code(0);
    answer.expect_text(
        "would make an archive at ./archive.bfdb\n\
         volume 0  ./archive.bfdb/volumes/v0\n\
         tier 1    RS(1,3), 300 % overhead; any 3 of the 4 shards of a block may be lost, but no volume\n\
         tier 2    RS(1,3), 300 % overhead; any 3 of the 4 shards of a block may be lost, but no volume\n\
         tier 3    RS(30,3), 10 % overhead; any 3 of the 33 shards of a block may be lost, but no volume\n\
         tier 4    RS(30,3) in groups of 74 blocks and 3 of parity, at most 14 % overhead; any 3 of the 33 shards of each block and any \
         3 blocks of each group may be lost, but no volume\n",
    );
    assert!(!place.path("archive.bfdb").exists(), "a dry run made something");
    let answer = place.run(["init"]).expect_code(0);
    assert!(
        answer.text().starts_with("made archive ") && answer.text().contains(" at ./archive.bfdb\n"),
        "{}",
        answer.text()
    );
    for arguments in [&["init"][..], &["init", "-n"]] {
        let answer = place.run(arguments).expect_code(1);
        answer.expect_stderr("error: ./archive.bfdb already holds an archive or what is left of one\n");
    }
    place.write("file", b"1");
    for arguments in [&["init", "-a", "file"][..], &["init", "-n", "-a", "file/below"]] {
        let answer = place.run(arguments).expect_code(1);
        assert!(
            answer.stderr.starts_with("error: no archive can be made at file"),
            "{}",
            answer.stderr
        );
    }
    let answer = place.run(["init", "--json", "-a", "other"]).expect_code(0);
    let line = &answer.json()[0];
    let id = line["archive"].as_str().expect("an id");
    assert_eq!(id.len(), 32);
    let replicas = |tier: u8| json!({"tier": tier, "data_shards": 1, "parity_shards": 3, "overhead": 3.0, "shards": 3, "volumes": 0});
    let wide =
        json!({"tier": 3, "data_shards": 30, "parity_shards": 3, "overhead": 0.1, "shards": 3, "volumes": 0});
    let grouped = &line["tiers"][3];
    assert_eq!(
        (&grouped["tier"], &grouped["group_blocks"]),
        (&json!(4), &json!(74))
    );
    let overhead = grouped["overhead"].as_f64().expect("a number");
    assert!((0.144..0.145).contains(&overhead), "{overhead}");
    let expected = json!({
        "type": "summary", "path": "other", "archive": id, "volumes": ["other/volumes/v0"], "survive_volumes": 0,
        "tiers": [replicas(1), replicas(2), wide, grouped], "dry_run": false,
    });
    assert_eq!(*line, expected);
    place.run(["ls", "-a", "other"]).expect_code(0);
}

#[test]
fn without_an_archive_every_command_but_commit_says_how_to_make_one() {
    let place = Place::new();
    place.write("a", b"1");
    for command in COMMANDS.iter().filter(|command| command[0] != "commit") {
        let answer = place
            .run([&["-a", "my archive"], *command].concat())
            .expect_code(10);
        answer.expect_stderr("error: there is no archive at my archive\n  try: bfdb -a 'my archive' init\n");
    }
    let answer = place.run(["--json", "ls"]).expect_code(10);
    let error = json!({
        "type": "error", "code": 10, "message": "there is no archive at ./archive.bfdb", "causes": [],
        "suggest": ["bfdb init"],
    });
    assert_eq!(answer.json_errors(), [error]);
    assert_eq!(answer.stdout, b"");
    assert!(!place.path("archive.bfdb").exists(), "reading made something");
}

#[test]
fn a_directory_of_something_else_and_a_file_are_no_archives() {
    let place = Place::new();
    place.write("a", b"1");
    fs::create_dir(place.path("photos")).expect("a directory");
    place.write("photos/p.jpg", b"2");
    let before = place.tree();
    for command in COMMANDS {
        let answer = place.run([&["-a", "photos"], command].concat()).expect_code(10);
        answer.expect_stderr("error: photos is not an archive: it holds neither a catalog nor volumes\n");
        let answer = place.run([&["-a", "a"], command].concat()).expect_code(10);
        assert!(
            answer
                .stderr
                .starts_with("error: a is not an archive\n  caused by: "),
            "{}",
            answer.stderr
        );
    }
    place.run(["init", "-a", "photos"]).expect_code(1);
    assert_eq!(place.tree(), before, "something was made over it");
}

#[test]
fn a_catalog_of_garbage_or_cut_short_is_exit_code_13_and_never_a_panic() {
    let place = Place::with(&[("a", b"hello"), ("b", b"world")]);
    let good = place.read("archive.bfdb/catalog.redb");
    let mut seeded = Seeded::new(7);
    let mut garbage = vec![0; good.len()];
    garbage.fill_with(|| seeded.flip_mask());
    // The first bytes say which database it is; behind them everything is wrong.
    let mut behind_the_magic = garbage.clone();
    behind_the_magic[..9].copy_from_slice(&good[..9]);
    // The last pages may hold nothing; that a cut there is noticed or harmless is for the library to show.
    let cut = [0, 1, 100, 4096, good.len() / 4, good.len() / 2].map(|len| good[..len].to_vec());
    let broken = [garbage, behind_the_magic, b"x".to_vec(), vec![0; good.len()]];
    for bytes in broken.into_iter().chain(cut) {
        place.write("archive.bfdb/catalog.redb", &bytes);
        let len = bytes.len();
        for command in COMMANDS {
            let answer = place.run(command);
            assert_eq!(answer.code, 13, "{command:?} of {len} bytes: {}", answer.stderr);
            assert!(
                answer.stderr.starts_with(
                    "error: the catalog of ./archive.bfdb cannot be used; the data is still on its volumes: make it again \
                     from the journal there, or put a copy of catalog.redb back, which is brought forward by itself\n  \
                     caused by: "
                ),
                "{}",
                answer.stderr
            );
            assert!(!answer.stderr.contains("panicked at"), "{}", answer.stderr);
        }
    }
    let answer = place.run(["--json", "ls"]).expect_code(13);
    assert_eq!(answer.json_errors()[0]["code"], 13);
    place.write("archive.bfdb/catalog.redb", &good);
    place.run(["cat", "a"]).expect_code(0).expect_text("hello");
}

#[test]
fn a_damaged_page_of_the_catalog_is_never_wrong_output() {
    let place = Place::with(&[("a", b"hello"), ("b", b"world")]);
    let good = place.read("archive.bfdb/catalog.redb");
    let catalog = place.path("archive.bfdb/catalog.redb");
    let mut seeded = Seeded::new(11);
    // Most of a young catalog is zeros that mean nothing.
    let used: Vec<usize> = (0..good.len()).filter(|&offset| good[offset] != 0).collect();
    let mut noticed = 0;
    for _ in 0..60 {
        let offset = used[seeded.index(used.len())];
        damage::flip_byte(&catalog, u64::try_from(offset).expect("small")).expect("it is there");
        let answer = place.run(["cat", "a"]);
        match answer.code {
            0 => assert_eq!(answer.text(), "hello", "byte {offset}"),
            13 => noticed += 1,
            other => panic!("byte {offset}: exit code {other}, {}", answer.stderr),
        }
        assert!(!answer.stderr.contains("panicked at"), "{}", answer.stderr);
        fs::write(&catalog, &good).expect("it is there");
    }
    assert!(noticed > 0, "no byte of sixty mattered");
}

#[test]
fn a_missing_catalog_beside_volumes_is_not_an_empty_archive() {
    let place = Place::with(&[("a", b"hello")]);
    damage::delete(&place.path("archive.bfdb/catalog.redb")).expect("it is there");
    let before = place.tree();
    for command in COMMANDS {
        let answer = place.run(command).expect_code(13);
        assert!(
            answer.stderr.contains(
                "cannot be used; the data is still on its volumes: make it again from the journal there"
            ),
            "{}",
            answer.stderr
        );
    }
    place.run(["init"]).expect_code(1);
    assert_eq!(place.tree(), before, "something was made over the remains");
}

#[test]
fn an_old_catalog_that_was_put_back_is_told_to_readers_and_brought_forward_by_writers() {
    let place = Place::with(&[("a", b"1")]);
    let old = place.read("archive.bfdb/catalog.redb");
    for name in ["b", "c", "d"] {
        place.write(name, b"new");
        place.run(["commit", "-q", name]).expect_code(0);
    }
    place.write("archive.bfdb/catalog.redb", &old);
    for command in ["ls", "status"] {
        let answer = place.run([command]).expect_code(13);
        answer.expect_stderr(
            "warning: the catalog of ./archive.bfdb is an old copy: newer files are on its volumes, but not in it\n  \
             try: bfdb recover\n",
        );
    }
    let answer = place
        .run(["recover"])
        .expect_code(0)
        .expect_text("nothing else to recover\n");
    let recovered = "note: recovered: 3 changes brought into the catalog from the journal; nothing that was committed is lost\n";
    answer.expect_stderr(recovered);
    // Who reads bytes needs to know where they are.
    for arguments in [
        ["cat", "d"].as_slice(),
        &["verify"],
        &["restore", "d", "-o", "out"],
    ] {
        place.write("archive.bfdb/catalog.redb", &old);
        place.run(arguments).expect_code(0).expect_stderr(recovered);
    }
    place.run(["ls"]).expect_code(0).expect_text("a\nb\nc\nd\n");
    place.run(["scrub"]).expect_code(0);
    place.write("archive.bfdb/catalog.redb", &old);
    let answer = place.run(["--json", "commit", "b"]).expect_code(0);
    assert_eq!(answer.json()[0]["result"], "unchanged");
    let told = &answer.json_errors()[0];
    assert_eq!(
        (&told["type"], &told["records"]),
        (&json!("recovered"), &json!(3))
    );
}

/// Copies a directory with everything below it.
fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a readable directory") {
        let entry = entry.expect("a readable entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a readable file");
        }
    }
}

#[test]
fn a_page_of_the_catalog_that_is_an_old_one_is_told_to_whoever_only_reads() {
    const PAGE_LEN: usize = 4096;
    let place = Place::with(&[("a", b"1")]);
    let old = place.read("archive.bfdb/catalog.redb");
    for name in ["b", "c", "d", "e", "f"] {
        place.write(name, b"new");
        place.run(["commit", "-q", name]).expect_code(0);
    }
    let newest = place.read("archive.bfdb/catalog.redb");
    let mut told = 0;
    for page in (1..old.len() / PAGE_LEN).map(|page| page * PAGE_LEN..(page + 1) * PAGE_LEN) {
        let mut mixed = newest.clone();
        mixed[page.clone()].copy_from_slice(&old[page]);
        if mixed == newest {
            continue;
        }
        place.write("archive.bfdb/catalog.redb", &mixed);
        let answer = place.run(["ls"]);
        let answer = match answer.code {
            0 => answer.expect_text("a\nb\nc\nd\ne\nf\n"),
            _ => answer.expect_code(13),
        };
        let warning = "warning: the catalog of ./archive.bfdb is damaged: what is shown may be old, or lack something; ";
        told += u32::from(answer.stderr.contains(warning));
    }
    assert!(told > 0, "a page that matters was among them");
    place.write("archive.bfdb/catalog.redb", &old);
    place.run(["recover"]).expect_code(0);
    place.run(["ls"]).expect_code(0).expect_text("a\nb\nc\nd\ne\nf\n");
}

#[test]
fn parts_of_two_archives_with_a_common_past_are_told_with_both_heads_and_not_written_to() {
    let place = Place::with(&[("a", b"1")]);
    let common = place.read("archive.bfdb/catalog.redb");
    // Two that go on from a copy of the same moment, each with something else.
    copy_tree(&place.path("archive.bfdb"), &place.path("other"));
    for (archive, name) in [("archive.bfdb", "b"), ("other", "c")] {
        place.write(name, b"new");
        place.run(["commit", "-q", "-a", archive, name]).expect_code(0);
    }
    let journal = |archive: &str| place.path(archive).join("volumes/v0/journal/c0");
    copy_tree(&journal("other"), &journal("archive.bfdb"));
    place.write("archive.bfdb/catalog.redb", &common);

    let volumes = || {
        let mut tree = place.tree();
        tree.retain(|path, _| path.starts_with(place.path("archive.bfdb/volumes")));
        tree
    };
    let before = volumes();
    for command in [&["commit", "c"][..], &["rm", "a"], &["recover"]] {
        let answer = place.run(command).expect_code(13);
        let start = "error: parts of two archives are mixed in ./archive.bfdb; nothing was changed: put the catalog and \
                     the volumes of one of them back\n  caused by: the archive has two heads, epoch 2 (";
        assert!(answer.stderr.starts_with(start), "{command:?}: {}", answer.stderr);
        let heads = answer.stderr.matches("epoch 2 (").count();
        assert_eq!(heads, 2, "both are named: {}", answer.stderr);
    }
    let answer = place.run(["ls"]).expect_code(13).expect_text("a\n");
    answer.expect_stderr(
        "warning: parts of two archives are mixed in ./archive.bfdb, and newer files are not shown\n",
    );
    let answer = place.run(["cat", "a"]).expect_code(0);
    assert_eq!(answer.stdout, b"1", "what both know is read, and right");
    assert!(volumes() == before, "something was written");
}

#[test]
fn an_archive_of_a_newer_format_is_left_alone() {
    let place = Place::with(&[("a", b"1")]);
    let newer = ArchiveRecord {
        id: ArchiveId::from_bytes([7; 16]),
        format_version: FORMAT_VERSION + 1,
        required_features: 0,
        created_at: Timestamp::EPOCH,
        policy: Policy::default(),
    };
    let catalog = place.path("archive.bfdb/catalog.redb");
    damage::delete(&catalog).expect("it is there");
    Catalog::create(
        &Machine::default().storage,
        &catalog,
        &newer,
        &[],
        CatalogOptions::default(),
    )
    .expect("a new catalog");
    for command in COMMANDS {
        let answer = place.run(command).expect_code(14);
        assert!(
            answer
                .stderr
                .starts_with("error: ./archive.bfdb needs a newer version of bfdb; nothing was changed\n"),
            "{}",
            answer.stderr
        );
    }
}

#[test]
fn an_archive_that_somebody_else_is_making_is_locked() {
    let place = Place::new();
    place.write("a", b"1");
    let layout = ArchiveLayout::new(place.path("archive.bfdb"));
    let lock = layout
        .lock_for_building(Building::Creation)
        .expect("nobody else builds");
    for command in [&["init"][..], &["commit", "a"]] {
        let answer = place.run(command).expect_code(11);
        assert!(
            answer
                .stderr
                .starts_with("error: the archive ./archive.bfdb is locked\n"),
            "{}",
            answer.stderr
        );
    }
    drop(lock);
    // A test beside this one may be starting its program right now, and holds a copy of the lock until it has.
    let freed = (0..1000).any(|_| place.run(["commit", "a"]).code != 11);
    assert!(freed, "the lock went with its owner");
    place.run(["commit", "a"]).expect_code(0);
}

#[test]
fn what_an_interrupted_writer_left_is_rolled_back_and_told() {
    let place = Place::with(&[("a", b"1")]);
    let root = place.path("archive.bfdb");
    // An extent that a dead commit had reserved.
    let reserve = || {
        let catalog = Catalog::open(
            &Machine::default().storage,
            &root.join("catalog.redb"),
            Access::Write,
            Check::Always,
            CatalogOptions::default(),
        )
        .expect("a good catalog");
        let volume = catalog
            .read()
            .and_then(|reader| reader.volumes())
            .expect("readable")[0]
            .id;
        let mut writer = catalog.write().expect("nobody else writes");
        let extent = ExtentRecord {
            id: ExtentId::new(4_000_000_000),
            volume,
            lane: LaneIndex::new(0),
            state: ExtentState::Open,
            owner: Some(CommitId::new(99)),
            end_bytes: 0,
            live_bytes: 0,
            live_shards: 0,
            live_files: 0,
        };
        writer.put_extent(&extent).expect("a new extent");
        writer.commit().expect("room");
        catalog.close().expect("nobody writes");
    };
    reserve();
    place.run(["ls"]).expect_code(0).expect_stderr("");
    let note =
        "note: recovered: room of an interrupted commit taken back; nothing that was committed is lost\n";
    place.run(["commit", "a"]).expect_code(0).expect_stderr(note);
    place.run(["commit", "a"]).expect_code(0).expect_stderr("");
    reserve();
    place.run(["-q", "commit", "a"]).expect_code(0).expect_stderr("");

    // A session file whose process is gone.
    let sessions = ArchiveLayout::new(&root).sessions();
    let about = SessionInfo::of_this_process("test", &SystemClock);
    let session =
        Session::create(&Machine::default(), &sessions, SessionId::new(5), &about).expect("a session");
    let file = fs::read_dir(&sessions)
        .expect("a directory")
        .next()
        .expect("the session")
        .expect("readable")
        .path();
    let bytes = fs::read(&file).expect("readable");
    drop(session);
    fs::write(&file, bytes).expect("a directory that is there");
    let answer = place.run(["--json", "commit", "a"]).expect_code(0);
    let note = json!({
        "type": "recovered", "records": 0, "rolled_back": 0, "waiting": 0, "journal_findings": 0, "lost_epoch": null, "suggest": [],
        "message": "recovered: a writer that was interrupted had nothing unfinished; nothing that was committed is lost",
    });
    assert_eq!(answer.json_errors(), [note]);
    assert!(!file.exists(), "the session was not cleared away");
}

#[test]
fn the_library_and_the_program_share_an_archive() {
    let place = Place::new();
    let root = place.path("archive.bfdb");
    let archive = Archive::create(&root, &ArchiveOptions::default()).expect("a new archive");
    place.write("a", b"hello");
    // Beside an open writer.
    place.run(["commit", "-q", "a"]).expect_code(0);
    place.run(["cat", "a"]).expect_code(0).expect_text("hello");
    archive.close().expect("nothing is pending");
    let (archive, _) = Archive::open(&root, &OpenOptions::default()).expect("a good archive");
    let name = "a".parse().expect("a name");
    let found = archive.snapshot().and_then(|snapshot| snapshot.file(&name));
    assert_eq!(found.expect("readable").map(|file| file.len_bytes), Some(5));
    archive.close().expect("nothing is pending");
}

//! A disk that fails at any operation, and a power cut after it.

use proptest::prelude::*;

use super::*;

/// What a process got through before the disk failed it.
#[derive(Debug, Default)]
struct Progress {
    known: Option<Known>,
    /// Keys whose intent was safe, so that their request left; the last content asked of each.
    sent: BTreeMap<Vec<u8>, u128>,
    /// Those of them that nothing answered.
    unanswered: Vec<Vec<u8>>,
    committed: Option<Contents>,
}

/// Which names a power cut spares.
type Names = fn(&str) -> bool;

/// Fourteen runs, enough to compact; each delivers some, leaves one in doubt and deletes an older one.
fn runs(disk: &MemoryDisk, progress: &mut Progress) -> Result<(), Error> {
    let mut snapshot = open(disk, None)?;
    snapshot.commit(|header| header.epoch = EPOCH)?;
    progress.known = Some(known(&snapshot));
    for run in 0..14u32 {
        let (batch, v) = (u64::from(run) * 2 + 1, u128::from(run) + 1);
        intent(&mut snapshot, batch, Operation::Upsert, run * 10..run * 10 + 4, v);
        snapshot.journal().write()?;
        snapshot.journal().syncer().sync()?;
        for number in run * 10..run * 10 + 4 {
            progress.sent.insert(key(number), v);
        }
        progress.unanswered.push(key(run * 10 + 3));
        receipt(&mut snapshot, batch, 0..3, Verdict::Delivered);
        snapshot.journal().write()?;
        if let Some(old) = run.checked_sub(3) {
            intent(&mut snapshot, batch + 1, Operation::Delete, old * 10..old * 10 + 1, 0);
            snapshot.journal().write()?;
            snapshot.journal().syncer().sync()?;
            progress.sent.remove(&key(old * 10));
            receipt(&mut snapshot, batch + 1, 0..1, Verdict::Delivered);
        }
        snapshot.commit(|_| {})?;
        progress.known = Some(known(&snapshot));
        progress.committed = Some(contents(snapshot.view())?);
        if snapshot.compact(|| true)? {
            progress.known = Some(known(&snapshot));
        }
    }
    Ok(())
}

#[test]
fn a_disk_that_fails_at_any_operation_loses_no_commit_and_no_doubt() {
    let disk = MemoryDisk::new();
    runs(&disk, &mut Progress::default()).unwrap();
    let operations = disk.operations();
    for n in 0..operations {
        let disk = MemoryDisk::new();
        disk.fail_at(n, n % 2 == 0);
        let mut progress = Progress::default();
        let outcome = runs(&disk, &mut progress);
        assert!(outcome.is_err() || n % 2 == 1, "{n}");
        let all = |_: &str| true;
        let none = |_: &str| false;
        let manifest = |name: &str| name == "manifest";
        let cuts: [(Names, usize); 7] = [
            (all, usize::MAX),
            (all, 0),
            (all, 7),
            (none, 0),
            (none, 40),
            (manifest, 0),
            (manifest, usize::MAX),
        ];
        for (names, bytes) in cuts {
            let after = disk.fork();
            after.crash_keeping(names, bytes);
            check_reopened(&after, &progress, n);
        }
    }
}

/// C6: whoever opens a snapshot notes the generation it found; a power cut after that must leave it.
#[test]
fn what_was_renamed_before_a_kill_is_safe_before_anything_rests_on_it() {
    for n in 0..150 {
        let disk = MemoryDisk::new();
        disk.fail_at(n, true);
        let mut progress = Progress::default();
        runs(&disk, &mut progress).expect_err("the disk fails");
        disk.heal();
        let snapshot = open(&disk, progress.known).unwrap();
        if snapshot.header().generation > 0 {
            progress.known = Some(known(&snapshot));
        }
        drop(snapshot);
        let cuts: [Names; 4] =
            [|_| true, |_| false, |name| name == "manifest", |name| name != "manifest"];
        for names in cuts {
            let after = disk.fork();
            after.crash_keeping(names, usize::MAX);
            check_reopened(&after, &progress, n);
        }
    }
}

fn check_reopened(disk: &MemoryDisk, progress: &Progress, n: u64) {
    let reopened = open(disk, progress.known);
    let snapshot = reopened.unwrap_or_else(|error| panic!("operation {n}: {error}"));
    let read = contents(snapshot.view()).unwrap();
    for (key, v) in &progress.sent {
        let entry = read.get(key).unwrap_or_else(|| panic!("operation {n}: a sent key is lost"));
        let confirmed = entry.confirmed.map(|confirmed| confirmed.fingerprint);
        assert!(entry.doubt.is_some() || confirmed == Some(*v), "operation {n}");
    }
    for key in &progress.unanswered {
        assert!(read[key].doubt.is_some(), "operation {n}: a doubt is lost");
    }
    for (key, entry) in progress.committed.iter().flatten() {
        // Differently only where a delete was about to leave, or left.
        let now = read.get(key);
        let is_asked = now.is_some_and(|now| now.doubt.is_some());
        assert!(
            now == Some(entry) || is_asked || !progress.sent.contains_key(key),
            "operation {n}: a commit is lost"
        );
    }
}

/// One step of a run that a power cut ends.
#[derive(Debug, Clone)]
enum Step {
    /// An intent for the next key, of this many records.
    Intent(u8),
    /// The receipt of the batch this many batches ago.
    Receipt(u8),
    Write,
    /// Makes safe what was written; its requests leave.
    Sync,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u8..4).prop_map(Step::Intent),
        4 => (0u8..4).prop_map(Step::Receipt),
        3 => Just(Step::Write),
        1 => Just(Step::Sync),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    /// A9: unsynced pages that reach the disk in any order are no damage, and no doubt of a request is lost.
    #[test]
    fn a_power_cut_may_lose_any_of_what_was_not_synced(
        steps in prop::collection::vec(any_step(), 1..40),
        pages in prop::collection::vec(any::<bool>(), 64),
        page in prop_oneof![Just(16usize), Just(48), Just(256)],
    ) {
        let disk = MemoryDisk::new();
        let mut snapshot = begun(&disk);
        // Keys by batch: those noted, written, and safe.
        let (mut noted, mut written, mut safe) = (Vec::new(), 0, 0);
        for step in steps {
            let batches = u64::try_from(noted.len()).unwrap();
            match step {
                Step::Intent(records) => {
                    let first = u32::try_from(noted.len()).unwrap() * 10;
                    let keys = first..first + u32::from(records);
                    intent(&mut snapshot, batches + 1, Operation::Upsert, keys.clone(), 7);
                    noted.push(keys);
                }
                Step::Receipt(ago) if u64::from(ago) < batches => {
                    receipt(&mut snapshot, batches - u64::from(ago), 0..1, Verdict::Delivered);
                }
                Step::Receipt(_) => {}
                Step::Write => {
                    snapshot.journal().write().unwrap();
                    written = noted.len();
                }
                Step::Sync => {
                    snapshot.journal().syncer().sync().unwrap();
                    safe = written;
                }
            }
        }
        let known = known(&snapshot);
        drop(snapshot);
        disk.crash_keeping_pages(|_| true, page, |number| pages[number % pages.len()]);
        let snapshot = open(&disk, Some(known));
        let snapshot = snapshot.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let read = contents(snapshot.view()).unwrap();
        for number in noted.iter().take(safe).cloned().flatten() {
            prop_assert!(read.contains_key(&key(number)), "a key that left is lost");
        }
        for entry in read.values() {
            prop_assert!(entry.doubt.is_some() != entry.confirmed.is_some());
        }
    }
}

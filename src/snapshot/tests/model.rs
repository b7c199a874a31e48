//! Runs, commits and recoveries against a map that is changed at once.

use proptest::prelude::*;

use super::*;

/// One step of a run, of few keys.
#[derive(Debug, Clone)]
enum Step {
    Send { operation: Operation, keys: Vec<u8>, verdicts: Vec<Option<Verdict>> },
    Repeated(u8),
    Forget(u8),
    Clear(u8),
    Hold(u8, u64),
    Waive(u8),
    Commit,
    Reopen,
}

fn any_verdict() -> impl Strategy<Value = Option<Verdict>> {
    prop_oneof![
        Just(None),
        Just(Some(Verdict::Delivered)),
        Just(Some(Verdict::NotApplied)),
        Just(Some(Verdict::Unknown)),
        any::<bool>().prop_map(|after_unknown| Some(Verdict::Rejected {
            code: "c".into(),
            message: "m".into(),
            after_unknown
        })),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let operation = prop_oneof![3 => Just(Operation::Upsert), 1 => Just(Operation::Delete)];
    let verdicts = prop::collection::vec(any_verdict(), 6);
    let keys = prop::collection::hash_set(0..12u8, 1..6);
    let send = (operation, keys, verdicts).prop_map(|(operation, keys, verdicts)| Step::Send {
        operation,
        keys: keys.into_iter().collect(),
        verdicts,
    });
    let one = 0..12u8;
    prop_oneof![
        6 => send,
        1 => one.clone().prop_map(Step::Repeated),
        1 => one.clone().prop_map(Step::Forget),
        1 => one.clone().prop_map(Step::Clear),
        1 => (one.clone(), 1..5u64).prop_map(|(key, run)| Step::Hold(key, run)),
        1 => one.prop_map(Step::Waive),
        3 => Just(Step::Commit),
        1 => Just(Step::Reopen),
    ]
}

/// The same, in the plainest way: a map, changed at once.
#[derive(Default)]
struct Model {
    entries: BTreeMap<u8, Entry>,
    /// And whether anything of it can have left.
    last_intents: BTreeMap<u8, (Doubt, bool)>,
}

impl Model {
    fn take(&mut self, step: &Step, batch: u64) {
        match step {
            Step::Send { operation, keys, verdicts } => {
                for (index, key) in (0u32..).zip(keys) {
                    let fingerprint = u128::from(batch);
                    let (number, batch) = (IntentNumber(batch), BatchNumber(batch));
                    let operation = *operation;
                    let is_repeated = false;
                    let intent = Doubt {
                        operation,
                        fingerprint,
                        number,
                        batch,
                        index,
                        is_repeated,
                        is_spent: false,
                    };
                    let verdict = verdicts[index as usize].clone().unwrap_or(Verdict::Unknown);
                    self.last_intents.insert(*key, (intent, verdict != Verdict::NotApplied));
                    self.entry(*key, |entry| entry.settle(intent, &verdict, EPOCH, Instant(5)));
                }
            }
            Step::Repeated(key) => {
                let last = self.last_intents.get(key).copied();
                self.entry(*key, |entry| {
                    let unnumbered = Doubt {
                        operation: Operation::Upsert,
                        fingerprint: entry.confirmed.map_or(0, |confirmed| confirmed.fingerprint),
                        number: IntentNumber(0),
                        batch: BatchNumber(0),
                        index: 0,
                        is_repeated: true,
                        is_spent: true,
                    };
                    let left = match last {
                        Some((intent, true)) => Some(intent),
                        Some((_, false)) => entry.doubt,
                        None => Some(entry.doubt.unwrap_or(unnumbered)),
                    };
                    entry.doubt = left.map(|doubt| Doubt { is_repeated: true, ..doubt });
                });
            }
            Step::Forget(key) => self.entry(*key, |entry| *entry = Entry::default()),
            Step::Clear(key) => self.entry(*key, |entry| {
                entry.rejection = None;
                entry.held = None;
            }),
            Step::Hold(key, run) => self.entry(*key, |entry| {
                let first = entry.held.map_or(RunId(*run), |held| held.first);
                entry.held = Some(Held { first, last: RunId(*run) });
            }),
            Step::Waive(key) => self.entry(*key, |entry| {
                entry.waiver = Some(Waiver { fingerprint: 1, epoch: EPOCH });
            }),
            Step::Commit | Step::Reopen => {
                self.last_intents.clear();
                self.entries.retain(|_, entry| !entry.is_empty());
            }
        }
    }

    fn entry(&mut self, key: u8, change: impl FnOnce(&mut Entry)) {
        change(self.entries.entry(key).or_default());
    }

    fn contents(&self) -> Contents {
        self.entries
            .iter()
            .map(|(number, entry)| (key(u32::from(*number)), entry.clone()))
            .collect()
    }
}

fn write(snapshot: &mut Snapshot, step: &Step, batch: u64) {
    let name = |number: &u8| key(u32::from(*number));
    match step {
        Step::Send { operation, keys, verdicts } => {
            let keys: Vec<_> = keys.iter().map(name).collect();
            let (fingerprint, number) = (u128::from(batch), IntentNumber(batch));
            let records =
                keys.iter().map(|key| IntentRecord { key, fingerprint, number }).collect();
            let operation = *operation;
            let batch = BatchNumber(batch);
            snapshot.journal().append(&Record::Intent { batch, operation, records });
            let named = (0u32..).zip(verdicts).take(keys.len());
            let verdicts = named
                .filter_map(|(index, verdict)| Some((index..index + 1, verdict.clone()?)))
                .collect();
            snapshot.journal().append(&Record::Receipt { batch, at: Instant(5), verdicts });
        }
        Step::Repeated(key) => snapshot.journal().append(&Record::Repeated { key: &name(key) }),
        Step::Forget(key) => snapshot.journal().append(&Record::Forget { key: &name(key) }),
        Step::Clear(key) => snapshot.journal().append(&Record::Clear { key: &name(key) }),
        Step::Hold(key, run) => {
            snapshot.journal().append(&Record::Hold { key: &name(key), run: RunId(*run) });
        }
        Step::Waive(key) => {
            let waiver = Waiver { fingerprint: 1, epoch: EPOCH };
            snapshot.journal().append(&Record::Waive { key: &name(key), waiver });
        }
        Step::Commit | Step::Reopen => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn commits_and_recoveries_agree_with_a_map(
        steps in prop::collection::vec(any_step(), 0..80)
    ) {
        let disk = MemoryDisk::new();
        let mut snapshot = begun(&disk);
        let mut model = Model::default();
        for (step, batch) in steps.iter().chain([&Step::Commit]).zip(1..) {
            write(&mut snapshot, step, batch);
            model.take(step, batch);
            match step {
                Step::Commit => {
                    commit_and_compact(&mut snapshot);
                }
                Step::Reopen => {
                    snapshot.journal().write().unwrap();
                    snapshot = open(&disk, Some(known(&snapshot))).unwrap();
                }
                _ => continue,
            }
            prop_assert_eq!(contents(snapshot.view()).unwrap(), model.contents());
        }
    }
}

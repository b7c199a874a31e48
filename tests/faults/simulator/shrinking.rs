use super::judge::Broken;
use super::plan::{ENOUGH, Plan, Run, Step};

/// Attempts at most.
const ATTEMPTS: u32 = 2_000;

/// Leaves out of a plan whatever it can do without and still break the same invariant.
pub fn shrink<T>(
    mut plan: Plan,
    mut broken: Broken,
    attempt: &impl Fn(&Plan) -> Result<T, Broken>,
) -> (Plan, Broken) {
    let mut left = ATTEMPTS;
    loop {
        let smaller = candidates(&plan).into_iter().find_map(|candidate| {
            left = left.checked_sub(1)?;
            let found = attempt(&candidate).err()?;
            (found.invariant == broken.invariant).then_some((candidate, found))
        });
        match smaller {
            Some(found) => (plan, broken) = found,
            None => return (plan, broken),
        }
    }
}

/// Plans with a little less in them, the smallest first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut candidates = Vec::new();
    let with = |steps: Vec<Step>| Plan { setting: plan.setting.clone(), steps };
    let count = plan.steps.len();
    for size in [count / 2, count / 4, 2, 1] {
        for first in (0..count).step_by(size.max(1)).rev().filter(|_| size > 0) {
            let mut steps = plan.steps.clone();
            steps.drain(first..count.min(first + size));
            candidates.push(with(steps));
        }
    }
    for (place, step) in plan.steps.iter().enumerate() {
        let mut replace = |step: Step| {
            let mut steps = plan.steps.clone();
            steps[place] = step;
            candidates.push(with(steps));
        };
        match step {
            Step::Run(run) => {
                for trouble in 0..run.troubles.len() {
                    let mut run = run.clone();
                    run.troubles.remove(trouble);
                    replace(Step::Run(run));
                }
                if run.is_full {
                    replace(Step::Run(Run { is_full: false, ..run.clone() }));
                }
                let chosen = run.chosen.iter().filter(|chosen| chosen.keys.len() > 1);
                for (chosen, key) in chosen.flat_map(|it| it.keys.iter().map(move |key| (it, key)))
                {
                    let mut chosen = chosen.clone();
                    chosen.keys.remove(key);
                    replace(Step::Run(Run { chosen: Some(chosen), ..run.clone() }));
                }
            }
            Step::Decide { is_release, crash: Some(_) } => {
                replace(Step::Decide { is_release: *is_release, crash: None });
            }
            _ => {}
        }
    }
    let mut simpler = plan.clone();
    simpler.setting.concurrency = 1;
    if plan.setting.concurrency > 1 {
        candidates.push(simpler.clone());
    }
    if plan.setting.room.keys < ENOUGH.keys {
        let mut plan = plan.clone();
        plan.setting.room = ENOUGH;
        candidates.push(plan);
    }
    if plan.setting.batch > 1 {
        simpler.setting.batch = 1;
        candidates.push(simpler);
    }
    candidates
}

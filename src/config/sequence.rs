//! Syncs that come after one another must come to an end.

use super::SyncConfig;
use super::document::child;
use super::validate::Check;

/// Reports each circle of syncs once, at its first sync in the file, with the path.
pub fn check(check: &mut Check, syncs: &[SyncConfig]) {
    let after = |name: &str| {
        let sync = syncs.iter().find(|sync| sync.sync.name == name)?;
        sync.schedule.as_ref()?.after().map(str::to_owned)
    };
    let mut known: Vec<String> = Vec::new();
    for sync in syncs {
        let Some(circle) = circle(&sync.sync.name, after) else { continue };
        if circle.iter().any(|name| known.contains(name)) {
            continue;
        }
        let pointer = child(&child(&child("/syncs", &sync.sync.name), "schedule"), "after");
        // As they would run: each after the one before it.
        let mut path: Vec<String> = circle.iter().rev().map(|name| format!("`{name}`")).collect();
        path.insert(0, format!("`{}`", circle[0]));
        let what = if circle.len() == 1 {
            format!("`{}` comes after itself", circle[0])
        } else {
            format!("these come after one another in a circle: {}", path.join(" → "))
        };
        check.report(&pointer, what, "start one of them by `cron` or `every`");
        known.extend(circle);
    }
}

/// The syncs from `name` on, each followed by the one that it comes after, if that leads back to `name`.
fn circle(name: &str, after: impl Fn(&str) -> Option<String>) -> Option<Vec<String>> {
    let mut path = vec![name.to_owned()];
    loop {
        let next = after(path.last().expect("it begins with a name"))?;
        if next == name {
            return Some(path);
        }
        if path.contains(&next) {
            return None;
        }
        path.push(next);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_circle_is_found_where_following_leads_back(
            after in prop::collection::vec(prop::option::of(0..8_usize), 8),
        ) {
            let name = |at: usize| at.to_string();
            let next = |text: &str| after[text.parse::<usize>().unwrap()].map(name);
            for first in 0..8 {
                let mut at = Some(first);
                let leads_back = (0..8).any(|_| {
                    at = at.and_then(|at| after[at]);
                    at == Some(first)
                });
                let found = circle(&name(first), next);
                prop_assert_eq!(found.is_some(), leads_back);
                for pair in found.unwrap_or_default().windows(2) {
                    prop_assert_eq!(next(&pair[0]), Some(pair[1].clone()));
                }
            }
        }
    }
}

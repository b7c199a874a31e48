//! Asks a server one thing after the other, and keeps how long each answer took, from the connection to its last byte.
//!
//! Each question has a connection of its own, as those of a command line have.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::SmallRng;

use super::fleet::name_of;
use crate::support::server::Api;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);
/// So many questions are followed by one Sync Now.
const BETWEEN_TRIGGERS: usize = 20;

/// What was asked and how long the answers took.
#[derive(Debug, Default)]
pub struct Answers {
    pub took: BTreeMap<&'static str, Vec<Duration>>,
    /// Runs that were accepted.
    pub accepted: Vec<i64>,
    /// Answers that were none, in words.
    pub wrong: Vec<String>,
}

/// Asks on until it is over.
pub fn ask_until(api: &Api, syncs: usize, mut chance: SmallRng, is_over: &AtomicBool) -> Answers {
    let mut answers = Answers::default();
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let sync = name_of(chance.random_range(0..syncs));
        if number % BETWEEN_TRIGGERS == BETWEEN_TRIGGERS - 1 {
            answers.trigger(api, &sync);
        } else {
            let (what, path) = match number % 5 {
                0 => ("one sync", format!("/api/v1/syncs/{sync}")),
                1 => ("a page of 100 syncs", "/api/v1/syncs".to_owned()),
                2 => ("a page of 20 runs", "/api/v1/runs".to_owned()),
                3 => match answers.accepted.last() {
                    Some(run) => ("one run", format!("/api/v1/runs/{run}")),
                    None => continue,
                },
                _ => ("/ready", "/ready".to_owned()),
            };
            answers.ask(api, what, &path);
        }
        std::thread::sleep(PAUSE);
    }
    answers
}

impl Answers {
    fn ask(&mut self, api: &Api, what: &'static str, path: &str) {
        let begun = Instant::now();
        let answered = api.ask_once("GET", path, &[], "");
        self.took.entry(what).or_default().push(begun.elapsed());
        if answered.status != 200 {
            self.wrong.push(format!("GET {path}: {}", answered.status));
        }
    }

    /// Sync Now.
    pub fn trigger(&mut self, api: &Api, sync: &str) {
        let path = format!("/api/v1/syncs/{sync}/run");
        let begun = Instant::now();
        let json = ("Content-Type", "application/json");
        let answered = api.ask_once("POST", &path, &[json], "");
        self.took.entry("Sync Now").or_default().push(begun.elapsed());
        match answered.json["run"].as_i64() {
            Some(run) if answered.status == 202 => self.accepted.push(run),
            _ => self.wrong.push(format!("POST {path}: {}", answered.status)),
        }
    }
}

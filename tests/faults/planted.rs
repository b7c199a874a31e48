//! Defects planted in the product, to see that the judge can judge: with each of them, the scenario named must fail.

use std::process::{Command, Stdio};

/// A defect (`counterflow::points::is_planted`) and the name of the scenario that must fail on it.
pub const PLANTED: &[(&str, &str)] =
    &[("intent_after_send", "a kill while a request is in flight leaves its keys in doubt")];

/// Plays each scenario with its defect and says whether all of them failed.
pub fn play() -> bool {
    let program = std::env::current_exe().expect("this program has a path");
    let mut missed = 0;
    for (defect, scenario) in PLANTED {
        let mut command = Command::new(&program);
        command.arg(scenario).env("COUNTERFLOW_DEFECT", defect).stdin(Stdio::null());
        let played = command.output().expect("this program can be started again");
        let said = String::from_utf8_lossy(&played.stdout);
        let failure = said.lines().skip_while(|line| !line.starts_with("FAILED")).nth(2);
        match failure {
            Some(why) => println!("found        {defect} by `{scenario}`: {}", why.trim()),
            None => {
                missed += 1;
                println!("MISSED       {defect} by `{scenario}`:\n{said}");
            }
        }
    }
    println!("{} planted, {missed} missed", PLANTED.len());
    missed == 0
}

//! Whether a machine may leave anything out. It may where nobody demands all; with `KIT_DEMAND_ALL` in the environment, as
//! in `.ci/run`, what is not measured fails, but for what a container without privileges cannot have.

use std::collections::BTreeSet;

/// What may be lacking whoever demands all: what is said of it, and why it cannot be had everywhere.
const EXCUSED: [(&str, &str); 6] = [
    ("a mount namespace cannot be made here", NAMESPACES),
    ("no mount namespaces, or no `/etc/resolv.conf` to put another upon", NAMESPACES),
    ("port 53 of loopback cannot be had", "a port below 1024 is a privilege"),
    ("no control group that counts memory can be made here", GROUPS),
    ("no process can be put into a control group here", GROUPS),
    ("the binary cannot be run as a user who owns nothing", "another user is root's to become"),
];

const NAMESPACES: &str = "containers forbid mounts where they have no privileges";
const GROUPS: &str = "control groups of a container are their host's";

/// Whether all is demanded that a machine can have.
fn is_all() -> bool {
    std::env::var_os("KIT_DEMAND_ALL").is_some_and(|word| !word.is_empty())
}

/// Says aloud what this machine lacks, and whether that will do. `lacking` is what was said of each that is not measured.
pub fn is_met<'l>(lacking: impl Iterator<Item = &'l str>) -> bool {
    let lacking: BTreeSet<&str> = lacking.collect();
    if !lacking.is_empty() {
        println!("NOT MEASURED: this machine lacks something, and proves less than all:");
    }
    let is_all = is_all();
    let mut is_met = true;
    for lacking in lacking {
        match excuse(lacking) {
            Some(why) => println!("  {lacking}; excused: {why}"),
            None if is_all => {
                is_met = false;
                println!("  FAILED: {lacking}; all is demanded (KIT_DEMAND_ALL)");
            }
            None => println!("  {lacking}"),
        }
    }
    is_met
}

fn excuse(lacking: &str) -> Option<&'static str> {
    EXCUSED.iter().find(|(said, _)| lacking.ends_with(said)).map(|(_, why)| *why)
}

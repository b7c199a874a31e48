//! The last config that ran, kept in the state's folder for a start of the server at which its file is bad or gone (D10), and
//! for questions beside a server that goes on by it.
//!
//! Not responsible for reading the file, nor for the one that is read while the server runs (`reloading`). Invariants: what
//! is kept is what was written, with references as they stand there and never with what they stand for; it counts for a
//! file at the same path alone, and over the state that it is kept in; it is whole, or it is not there.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::address::{self, Address};
use crate::config::{self, Config, Problems, Written};
use crate::folders;

const FILE: &str = "last-good-config.json";
/// Where systemd says that a service may write, and our image too: a file that is gone cannot say where its state is.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Absolute.
    file: PathBuf,
    #[serde(flatten)]
    written: Written,
}

/// Keeps this config, which runs, in place of the one before; and none of its file in another state.
pub fn keep(config: &Config) {
    let kept = of(config);
    remove_elsewhere(config);
    if read(&config.state).as_ref() != Some(&kept) {
        put(config, &kept);
    }
}

/// Keeps this config, which a command beside no server goes by, where an earlier one of its file is kept: a server is not to
/// start with what was left behind since.
pub fn renew(config: &Config) {
    let kept = of(config);
    remove_elsewhere(config);
    if read(&config.state).is_some_and(|before| before.file == kept.file && before != kept) {
        put(config, &kept);
    }
}

fn of(config: &Config) -> Kept {
    Kept { file: config.path.clone(), written: config.written.clone() }
}

/// What was left where the state was before is never to run again.
fn remove_elsewhere(config: &Config) {
    for place in places(&config.path).into_iter().filter(|place| *place != config.state) {
        if read(&place).is_some_and(|left| left.file == config.path) {
            let _ = std::fs::remove_file(place.join(FILE));
        }
    }
}

fn put(config: &Config, kept: &Kept) {
    if let Err(error) = write(&config.state, kept) {
        let state = config.state.display();
        tracing::warn!(%error, "the config that runs could not be kept in `{state}`: with a bad file the next start is refused");
    }
}

/// The config that is kept for this file, where it runs over the state that it is kept in.
pub fn find(file: &Path) -> Option<Config> {
    kept_for(file, config::load_written)
}

/// As [`find`], where a server runs by it now; for a command that only looks: secrets may be missing.
pub fn of_server(file: &Path) -> Option<(Config, Address)> {
    let config = kept_for(file, config::load_written_without_secrets)?;
    let server = address::of_owner(&config.state)?;
    (server.revision == config.content.revision).then_some((config, server))
}

fn kept_for(
    file: &Path,
    load: impl Fn(&Path, &Written) -> Result<Config, Problems>,
) -> Option<Config> {
    let file = std::path::absolute(file).ok()?;
    named(&file).map_or_else(|| places(&file), |named| vec![named]).into_iter().find_map(|place| {
        let kept = read(&place).filter(|kept| kept.file == file)?;
        let config = load(&file, &kept.written).ok()?;
        (config.state == place).then_some(config)
    })
}

/// The state's folder that the file names: what is kept in any other is not of this file as it stands.
fn named(file: &Path) -> Option<PathBuf> {
    let read = config::state_directory(file).ok();
    read.filter(|state| *state != config::usual_state(file)).or_else(|| named_in(file))
}

/// Where a config of this file may be kept, as far as that can be known of a file that names no state, or of none.
fn places(file: &Path) -> Vec<PathBuf> {
    let given = std::env::var_os(STATE_DIRECTORY).unwrap_or_default();
    let given = std::env::split_paths(&given).filter(|path| path.is_absolute());
    [config::usual_state(file)].into_iter().chain(given).collect()
}

/// The state's folder by its line, where the text is no YAML.
fn named_in(file: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(file).ok()?;
    let named = text.lines().find_map(|line| line.strip_prefix("state:"))?;
    let named = named.split(" #").next()?.trim().trim_matches(['"', '\'']);
    let is_known = !named.is_empty() && !named.contains("${");
    is_known.then(|| file.parent().unwrap_or(file).join(named).components().collect())
}

fn read(state: &Path) -> Option<Kept> {
    serde_json::from_slice(&std::fs::read(state.join(FILE)).ok()?).ok()
}

fn write(state: &Path, kept: &Kept) -> io::Result<()> {
    folders::replace(&state.join(FILE), &serde_json::to_vec(kept)?, 0o600)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn config(folder: &Path, state: &str) -> Config {
        let file = folder.join("counterflow.yaml");
        let starter = include_str!("starter.yaml");
        let open = starter.replace("      auth:\n        bearer: ${CRM_TOKEN}\n", "");
        let lines = open.lines().filter(|line| !line.starts_with("state:"));
        let text = lines.map(|line| format!("{line}\n")).collect::<String>();
        std::fs::write(&file, format!("{state}{text}")).unwrap();
        let config = config::load(&file).unwrap();
        std::fs::create_dir_all(&config.state).unwrap();
        config
    }

    #[test]
    fn what_is_kept_is_found_for_its_file_alone_and_is_nobody_elses_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let good = config(folder.path(), "");
        assert!(find(&good.path).is_none());
        keep(&good);
        let kept = good.state.join(FILE);
        assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&good.path, "syncs: [").unwrap();
        let found = find(&good.path).unwrap();
        assert_eq!((&found.content, &found.written), (&good.content, &good.written));
        std::fs::remove_file(&good.path).unwrap();
        assert_eq!(find(&good.path).unwrap().content, good.content);
        assert!(find(&folder.path().join("other.yaml")).is_none());
        std::fs::write(&kept, "{").unwrap();
        assert!(find(&good.path).is_none());
    }

    #[test]
    fn a_command_that_goes_by_another_config_takes_its_place_where_one_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let good = config(folder.path(), "");
        renew(&good);
        assert!(find(&good.path).is_none(), "no server ran");
        keep(&good);
        let next = config(folder.path(), "# another\n");
        renew(&next);
        assert_eq!(find(&good.path).unwrap().written, next.written);
    }

    #[test]
    fn what_another_state_has_kept_never_runs_again() {
        let folder = tempfile::tempdir().unwrap();
        let before = config(folder.path(), "");
        keep(&before);
        for bad in ["state: './elsewhere' # moved\nsyncs: [", "state: elsewhere\nsyncs: {}"] {
            std::fs::write(&before.path, bad).unwrap();
            assert!(find(&before.path).is_none(), "{bad}");
        }
        let after = config(folder.path(), "state: './elsewhere' # moved\n");
        assert_ne!(before.state, after.state);
        renew(&after);
        assert!(!before.state.join(FILE).exists());
        std::fs::write(before.state.join(FILE), serde_json::to_vec(&of(&before)).unwrap()).unwrap();
        keep(&after);
        assert!(!before.state.join(FILE).exists());
        std::fs::write(&after.path, "state: './elsewhere' # moved\nsyncs: [").unwrap();
        assert_eq!(find(&after.path).unwrap().state, after.state);
        // Copied, it is kept in a state that it does not run over.
        std::fs::copy(after.state.join(FILE), before.state.join(FILE)).unwrap();
        std::fs::remove_file(&after.path).unwrap();
        assert!(find(&after.path).is_none());
    }
}

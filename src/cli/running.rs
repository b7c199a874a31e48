//! The config that questions are answered by: that of the file, or where that is bad the one that a server goes on by (D10).
//!
//! Not responsible for what is kept for that (`last_good`). Invariant: whoever is not answered by the file as it is now is
//! told so, and what the file has wrong.

use std::fmt::Write as _;

use super::address::{self, Address};
use super::failure::Failure;
use super::state::Place;
use super::{last_good, reloading};
use crate::api::document::RunningConfig;
use crate::config::{self, Config, Problems};

/// What a question is answered by.
#[derive(Debug)]
pub struct Running {
    pub config: Config,
    /// The one that owns the state, if one does.
    server: Option<Address>,
    /// Of the file, where the config is not its own.
    problems: Option<Problems>,
}

impl Running {
    /// What a question at this place is answered by.
    ///
    /// # Errors
    /// The file has problems, and no server goes on without it.
    pub fn of(place: &Place) -> Result<Running, Failure> {
        match config::load_for(&place.file, None) {
            Ok(config) => {
                let server = address::of_owner(&config.state);
                Ok(Running { config, server, problems: None })
            }
            // The same server, though it may end before it could be looked for again.
            Err(problems) => match last_good::of_server(&place.file) {
                Some((config, server)) => {
                    Ok(Running { config, server: Some(server), problems: Some(problems) })
                }
                None => Err(problems.into()),
            },
        }
    }

    /// The config that the server runs by; the file's own where there is none.
    pub fn document(&self) -> RunningConfig {
        let Running { config, server, problems } = self;
        let own = || config.content.revision.clone();
        let revision = server.as_ref().map_or_else(own, |server| server.revision.clone());
        let since = server.as_ref().and_then(|server| server.since);
        // The server may not have looked at the file yet.
        let warning = match problems {
            Some(problems) => Some(reloading::warning(&revision, &problems.to_string())),
            None => server.as_ref().and_then(|server| server.warning.clone()),
        };
        RunningConfig { revision, since: since.map(|since| since.to_string()), warning }
    }

    /// The same for people.
    pub fn said(&self) -> String {
        let RunningConfig { revision, since, warning } = self.document();
        let Some(Address { address, .. }) = &self.server else {
            return format!("\nthe config has revision {revision}, and no server runs by it\n");
        };
        let since = since.map_or(String::new(), |since| format!(" since {since}"));
        let mut text =
            format!("\nthe server at {address} runs revision {revision} of the config{since}\n");
        if let Some(warning) = warning {
            let _ = writeln!(text, "  {warning}");
        }
        text
    }
}

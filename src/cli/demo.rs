//! The demo: the story, or its destination alone.
//!
//! Not responsible for the story itself. Invariant: signals are heard from the beginning; the first one ends the demo in
//! order, with no child and no folder left behind.

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::output::{Format, Output};
use super::stopping::{Cause, Signals};
use crate::demo::faults::Temper;
use crate::demo::object::Object;
use crate::demo::{self, Account, Destination, Setting, Teller};

/// Where `config.example.yaml` expects the destination.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8089);

/// What `demo` was asked.
#[derive(Debug)]
pub struct Asked {
    pub seed: u64,
    pub keep: bool,
    pub serve: bool,
    pub listen: Option<SocketAddr>,
}

pub async fn run(output: &Output, asked: Asked) -> Result<Exit, Failure> {
    let signals = Signals::listen()?;
    if asked.serve {
        let address = asked.listen.unwrap_or(USUAL);
        serve(output, signals, address, asked.seed).await
    } else {
        story(output, signals, Setting { seed: asked.seed, is_kept: asked.keep }).await
    }
}

async fn story(output: &Output, mut signals: Signals, setting: Setting) -> Result<Exit, Failure> {
    let told = tokio::select! {
        biased;
        cause = signals.next() => {
            output.aside(if setting.is_kept {
                "interrupted; the folder is kept"
            } else {
                "interrupted; nothing is left behind"
            });
            return Ok(exit(cause));
        }
        told = Box::pin(demo::play(setting, teller(output))) => told,
    };
    let account = told.map_err(|error| Failure::of(&error))?;
    if output.format == Format::Json {
        output.answer(&document(&account), String::new);
    }
    Ok(if account.is_well() { Exit::Done } else { Exit::Failed })
}

fn document(account: &Account) -> serde_json::Value {
    serde_json::to_value(account).expect("an account is plain data and always JSON")
}

async fn serve(
    output: &Output,
    mut signals: Signals,
    address: SocketAddr,
    seed: u64,
) -> Result<Exit, Failure> {
    if !address.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "the demo destination is for this machine only: `{address}` is no loopback address; use `{USUAL}`"
        )));
    }
    let destination = Destination::start(address, seed, Temper::Mild).await.map_err(|error| {
        Failure::failed(format!(
            "`{address}` cannot be listened on: {error}; use another `--listen`"
        ))
    })?;
    let mut teller = teller(output);
    teller.title("A destination that misbehaves, now and then");
    teller.say(&format!(
        "It listens at {} until you press Ctrl-C, and forgets everything then. Its token is `demo`. \
         `config.example.yaml` runs against it as it stands:",
        destination.base_url()
    ));
    for object in Object::ALL {
        teller.command(&format!("counterflow --config config.example.yaml sync {}", object.sync()));
    }
    let cause = signals.next().await;
    let held = Object::ALL.map(|object| (object.name(), destination.records(object).len()));
    let counts = destination.counts();
    destination.end().await;
    teller.title("What it held");
    for (name, records) in held {
        teller.printed(&format!("{records:>6} {name}"));
    }
    teller.counts(&counts);
    if output.format == Format::Json {
        let held: serde_json::Map<_, _> =
            held.into_iter().map(|(name, records)| (name.to_owned(), records.into())).collect();
        output.answer(&json!({ "records": held, "destination": counts }), String::new);
    }
    Ok(exit(cause))
}

/// Tells people on standard output; where JSON is wanted, nobody.
fn teller(output: &Output) -> Teller {
    let stdout = std::io::stdout();
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match output.format {
        Format::Human => {
            let is_coloured = stdout.is_terminal() && !is_plain;
            Teller::new(Box::new(stdout), is_coloured)
        }
        Format::Json => Teller::new(Box::new(std::io::sink()), false),
    }
}

fn exit(cause: Cause) -> Exit {
    match cause {
        Cause::Terminate => Exit::Terminated,
        Cause::Interrupt | Cause::Command => Exit::Interrupted,
    }
}

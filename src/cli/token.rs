//! Tokens for the HTTP interface: made, listed and revoked in the state, beside a server or without one.
//!
//! Not responsible for what they open (`api::gate`). Invariant: a secret is printed once, by the command that makes it,
//! and nowhere else.

use std::time::Duration;

use serde_json::{Value, json};

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::{self, Place};
use super::subcommands::TokenCommand;
use super::{runs, time};
use crate::api::token;
use crate::domain::id::Instant;
use crate::store::{Made, Scope, Store, Token};

pub async fn run(place: &Place, output: &Output, command: TokenCommand) -> Result<Exit, Failure> {
    if let Some(store) = place.beside().await? {
        return carry_out(output, &store, command).await;
    }
    // There is no state yet.
    let owned = state::own(&place.config_for(None)?).await?;
    let done = carry_out(output, &owned.store, command).await;
    owned.store.close().await;
    done
}

async fn carry_out(output: &Output, store: &Store, command: TokenCommand) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Create { name, scope, expires, message } => {
            create(output, store, name, scope.into(), expires, message.as_deref()).await
        }
        TokenCommand::List => list(output, store).await,
        TokenCommand::Revoke { name, message } => {
            revoke(output, store, &name, message.as_deref()).await
        }
    }
}

async fn create(
    output: &Output,
    store: &Store,
    name: String,
    scope: Scope,
    expires: Option<Duration>,
    message: Option<&str>,
) -> Result<Exit, Failure> {
    let now = time::now();
    let life = expires.map(|life| i64::try_from(life.as_millis()).unwrap_or(i64::MAX));
    let (secret, hash) = token::make().map_err(Failure::failed)?;
    let token = Token {
        name,
        hash,
        scope,
        created_at: now,
        expires_at: life.map(|life| now.plus(life)),
        revoked_at: None,
    };
    let is_first = store.tokens().await?.is_empty();
    let name = &token.name;
    match store.make_token(&token, &time::who(), message).await? {
        Made::Done => {}
        Made::NameIsTaken => {
            return Err(Failure::usage(format!(
                "there is or was a token `{name}`; names are never given twice, choose another"
            )));
        }
    }
    let mut document = document(&token, now);
    document["token"] = json!(secret);
    output.answer(&document, || secret.clone());
    let until = token.expires_at.map(|at| format!(" until {at}")).unwrap_or_default();
    output.aside(&format!(
        "`{name}` may {scope}{until}; its secret is shown this once and stored nowhere"
    ));
    if is_first {
        output.aside(
            "from now on every request to a server on this state needs a token; the command line takes it from \
             `COUNTERFLOW_TOKEN`",
        );
    }
    Ok(Exit::Done)
}

async fn list(output: &Output, store: &Store) -> Result<Exit, Failure> {
    let (tokens, now) = (store.tokens().await?, time::now());
    let documents: Vec<Value> = tokens.iter().map(|token| document(token, now)).collect();
    output.answer(&json!(documents), || {
        if tokens.is_empty() {
            return "there is no token; whoever reaches the loopback address may do everything"
                .to_owned();
        }
        let mut table = runs::table(&["name", "scope", "created", "expires", "state"]);
        for token in &tokens {
            table.add_row([
                token.name.clone(),
                token.scope.to_string(),
                token.created_at.to_string(),
                token.expires_at.map_or("-".to_owned(), |at| at.to_string()),
                word(token, now).to_owned(),
            ]);
        }
        table.trim_fmt()
    });
    Ok(Exit::Done)
}

async fn revoke(
    output: &Output,
    store: &Store,
    name: &str,
    message: Option<&str>,
) -> Result<Exit, Failure> {
    let now = time::now();
    let is_changed = store.revoke_token(name, &time::who(), message, now).await?;
    let tokens = store.tokens().await?;
    let Some(token) = tokens.iter().find(|token| token.name == name) else {
        let text =
            format!("there is no token `{name}`; `counterflow token list` shows those there are");
        return Err(Failure::usage(text));
    };
    output.answer(&document(token, now), || {
        if is_changed {
            format!("`{name}` opens nothing any more")
        } else {
            format!("`{name}` was revoked already")
        }
    });
    if !tokens.iter().any(|token| token.is_valid(now)) {
        output.aside("no token is good now, so that a server answers nobody; `counterflow token create` makes one");
    }
    Ok(Exit::Done)
}

fn document(token: &Token, now: Instant) -> Value {
    json!({
        "name": token.name,
        "scope": token.scope,
        "created_at": token.created_at.to_string(),
        "expires_at": token.expires_at.map(|at| at.to_string()),
        "revoked_at": token.revoked_at.map(|at| at.to_string()),
        "state": word(token, now),
    })
}

fn word(token: &Token, now: Instant) -> &'static str {
    match token.revoked_at {
        Some(_) => "revoked",
        None if token.is_valid(now) => "good",
        None => "expired",
    }
}

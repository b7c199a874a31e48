//! A destination that misbehaves, and the story told with it: sync, change, stop, kill, and nothing is lost.
//!
//! The story runs the real binary as a child process, and after each step compares what the destination holds with what
//! the source holds, by means of its own (`source`, [`compare`]). Not responsible for the command line and for signals:
//! whoever drops the story ends it, and nothing of it is left behind.

pub mod account;
pub mod child;
pub mod compare;
mod conduct;
pub mod destination;
pub mod faults;
pub mod folder;
pub mod narrate;
pub mod object;
mod request;
mod source;
mod steps;
pub mod story;
pub mod table;

pub use account::Account;
pub use destination::Destination;
pub use narrate::Teller;
pub use story::{Error, Setting};

use story::Story;

/// Tells the whole story; what it came to.
///
/// # Errors
/// The story cannot go on: a command ends otherwise than it must, or the system refuses something.
pub async fn play(setting: Setting, teller: Teller) -> Result<Account, Error> {
    let mut story = Story::begin(setting, teller).await?;
    story.send_everything().await?;
    story.change_the_source().await?;
    story.stop_and_resume().await?;
    story.kill_and_recover().await?;
    Ok(story.end().await)
}

use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::Place;

/// Has the running server read its config again; a file with problems changes nothing, and all of them are the failure.
pub async fn run(
    place: &Place,
    output: &Output,
    revision: Option<&str>,
    message: Option<&str>,
) -> Result<Exit, Failure> {
    let Some(server) = place.server()? else {
        let state = place.state()?;
        return Err(Failure::usage(format!(
            "no server works on `{}`, so there is nothing to reload; every other command reads the file anew, and \
             `counterflow serve` starts a server",
            state.display()
        )));
    };
    let body = json!({ "revision": revision, "message": message });
    let answer = server.command("/api/v1/reload", &body).await?;
    output.answer(&answer, || {
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        format!("revision {} runs: {}\n", text("revision"), text("summary"))
    });
    Ok(Exit::Done)
}

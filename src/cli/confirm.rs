use std::io::{BufRead, IsTerminal, Write};

use super::failure::Failure;

/// Asks before something that cannot be taken back. `yes`: it was said on the command line.
///
/// # Errors
/// The answer is no; or nobody is there to ask.
pub fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Failure::usage(format!("{question} Nobody is there to ask; say `--yes`")));
    }
    let mut error = std::io::stderr().lock();
    let _ = write!(error, "{question} [y/N] ").and_then(|()| error.flush());
    let mut answer = String::new();
    input.lock().read_line(&mut answer).map_err(|error| Failure::of(&error))?;
    if is_yes(&answer) { Ok(()) } else { Err(Failure::failed("not done, nothing was changed")) }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        assert!(is_yes("y\n") && is_yes(" Yes \n"));
        assert!(!is_yes("\n") && !is_yes("n\n") && !is_yes("yess\n"));
    }
}

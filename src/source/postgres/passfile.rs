//! Passwords of the file that libpq reads: `PGPASSFILE`, else `.pgpass` in the home folder.

use std::path::{Path, PathBuf};

use crate::source::remote::Remote;
use crate::source::secret::Secret;

/// The password for a database, where the file has one.
///
/// # Errors
/// Others than its owner may read the file; what to do.
pub fn look_up(remote: &Remote) -> Result<Option<Secret>, String> {
    let Some(path) = place() else { return Ok(None) };
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(None) };
    check_mode(&path)?;
    Ok(find(&text, remote).map(|password| Secret::new(password.into())))
}

fn place() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("PGPASSFILE").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(Path::new(&home).join(".pgpass"))
}

fn check_mode(path: &Path) -> Result<(), String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(path).map_or(0, |file| file.permissions().mode());
        if mode & 0o077 != 0 {
            let path = path.display();
            return Err(format!("others may read the passwords in `{path}`; `chmod 600 {path}`"));
        }
    }
    Ok(())
}

fn find(text: &str, remote: &Remote) -> Option<String> {
    let host = if remote.is_socket() { "localhost" } else { &remote.host };
    let port = remote.port.to_string();
    let asked = [host, &port, &remote.database, &remote.user];
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let (password, known) = fields.split_last().filter(|(_, known)| known.len() == 4)?;
        let fits = known.iter().zip(asked).all(|(known, asked)| known == "*" || known == asked);
        (fits && !password.is_empty()).then(|| password.clone())
    })
}

/// Five at most: a colon within one stands behind a backslash.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        let last = fields.len() - 1;
        match letter {
            '\\' => fields[last].extend(letters.next()),
            ':' if fields.len() < 5 => fields.push(String::new()),
            letter => fields[last].push(letter),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::remote::example;

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let text = "# db.internal:5432:shop:reader:comment\n\
                    db.internal:5433:shop:reader:other port\n\
                    *:*:shop:reader:a\\:b\\\\c\n\
                    db.internal:5432:shop:reader:later\n";
        assert_eq!(find(text, &example()).as_deref(), Some("a:b\\c"));
        let socket = Remote { host: "/run".into(), ..example() };
        let text = "db.internal:*:*:*:no\nlocalhost:5432:*:*:yes\nbroken";
        assert_eq!(find(text, &socket).as_deref(), Some("yes"));
        assert_eq!(find("", &socket), None);
    }
}

//! Passwords of the file that libpq reads: `PGPASSFILE`, else `.pgpass` in the home folder.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::small_file;
use crate::source::remote::Remote;
use crate::source::secret::Secret;

/// The longest file that is taken.
const LONGEST: u64 = 1 << 20;

/// What the file has for a database.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub password: Option<Secret>,
    /// Why there is none, as far as that is known.
    pub lacks: Option<String>,
}

/// The password for a database, where the file has one.
///
/// # Errors
/// Others than its owner may read the file; what to do.
pub fn look_up(remote: &Remote) -> Result<Found, String> {
    let Some(path) = place() else { return Ok(Found::default()) };
    read(&path, remote)
}

fn read(path: &Path, remote: &Remote) -> Result<Found, String> {
    let lacks = |why: String| Ok(Found { password: None, lacks: Some(why) });
    let shown = path.display();
    let text = small_file::read(path, LONGEST).and_then(|read| match read.len() as u64 > LONGEST {
        true => Err(io::Error::other(format!("it is over {LONGEST} bytes"))),
        false => String::from_utf8(read).map_err(|_| io::Error::other("it is not UTF-8")),
    });
    match text {
        Ok(text) => {
            check_mode(path)?;
            match find(&text, remote) {
                Some(password) => {
                    Ok(Found { password: Some(Secret::new(password.into())), lacks: None })
                }
                None => lacks(format!("no line of `{shown}` is for it")),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::default()),
        Err(error) => lacks(format!("`{shown}` cannot be read: {error}")),
    }
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
    let port = remote.port.to_string();
    let host = remote.host.trim_matches(['[', ']']);
    let asked = [&port, &remote.database, &remote.user];
    let is_host =
        |known: &str| known == "*" || known == host || remote.is_socket() && known == "localhost";
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let (password, known) = fields.split_last().filter(|(_, known)| known.len() == 4)?;
        let rest = known[1..].iter().zip(asked);
        let fits = is_host(&known[0])
            && rest.into_iter().all(|(known, asked)| known == "*" || known == asked);
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
        assert_eq!(find("/run:5432:*:*:its folder", &socket).as_deref(), Some("its folder"));
        let near = Remote { host: "[::1]".into(), ..example() };
        let text = "\\:\\:2:*:*:*:no\n\\:\\:1:5432:*:*:yes";
        assert_eq!(find(text, &near).as_deref(), Some("yes"));
        assert_eq!(find("localhost:*:*:*:no", &near), None);
    }

    #[test]
    fn why_a_file_has_no_password_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let read = |path: &Path| read(path, &example()).unwrap();
        assert_eq!(read(&folder.path().join("none")), Found::default());
        let lacks = read(folder.path()).lacks.unwrap();
        assert!(lacks.contains("cannot be read"), "{lacks}");
        let file = folder.path().join("passwords");
        std::fs::write(&file, "elsewhere:*:*:*:canary\n").unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let lacks = read(&file).lacks.unwrap();
        assert!(lacks.contains("no line of") && !lacks.contains("canary"), "{lacks}");
    }
}

//! How a conversation with a server begins: its greeting, encryption, and who asks.
//!
//! Not responsible for whom a certificate is believed from (`tls`). Invariants: a password itself is sent only where nobody else
//! can read it, or sealed for a key that nobody else can have given; nothing that came before the encryption is believed behind
//! it.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{ServerName, SubjectPublicKeyInfoDer};
use tokio_rustls::TlsConnector;

use super::error::{Failure, Said};
use super::fields::{Fields, put_sized};
use super::packets::{LONGEST, Packets};
use crate::source::remote::{Remote, Tls, Verify, is_near};
use crate::source::socket::{Address, reach};

const LONG_PASSWORD: u32 = 1;
const LONG_FLAG: u32 = 1 << 2;
const WITH_DATABASE: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const TLS: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE: u32 = 1 << 15;
const PLUGINS: u32 = 1 << 19;
const ATTRIBUTES: u32 = 1 << 20;
const SIZED_ANSWERS: u32 = 1 << 21;

/// What every server that is spoken to can do.
const NEEDED: u32 = PROTOCOL_41 | SECURE;
/// `utf8mb4_general_ci`.
const UTF8MB4: u8 = 45;

const NATIVE: &str = "mysql_native_password";
const CACHING: &str = "caching_sha2_password";
const CLEAR: &str = "mysql_clear_password";

/// What a server says first.
struct Greeting {
    capabilities: u32,
    nonce: Vec<u8>,
    plugin: String,
}

/// Where a server is, and what is known of it before it is asked.
#[derive(Clone)]
pub struct Door {
    pub remote: Remote,
    pub tls: Option<Arc<ClientConfig>>,
    /// The server's public key, in PEM.
    pub key: Option<Vec<u8>>,
}

/// Who asks, and by which way.
struct Guest<'r> {
    password: &'r [u8],
    /// Nobody else can read what is sent.
    is_private: bool,
    sealing: Sealing<'r>,
}

/// The key that a password is sealed for, where others can read what is sent.
#[derive(Clone, Copy)]
enum Sealing<'r> {
    Known(&'r [u8]),
    /// Whichever the server gives: nobody stands between.
    Asked,
    /// None: whoever stands between could give one of his own.
    Never,
}

/// Connects, and is let in; with it comes the address by which the same server is reached once more. `name` is what the server
/// is told of who asks.
pub async fn enter(
    door: &Door,
    address: &Address,
    name: &str,
) -> Result<(Packets, Address), Failure> {
    let Door { remote, tls, key } = door;
    let (wire, address) = reach(address).await.map_err(Failure::Lost)?;
    let mut packets = Packets::new(Box::new(wire), remote.idle_timeout);
    let greeting = greeting(&packets.read().await?)?;
    if greeting.capabilities & NEEDED != NEEDED {
        return Err(Failure::Malformed);
    }
    let wanted =
        LONG_PASSWORD | LONG_FLAG | TRANSACTIONS | NEEDED | PLUGINS | SIZED_ANSWERS | ATTRIBUTES;
    let mut capabilities = wanted & (greeting.capabilities | LONG_PASSWORD);
    if !remote.database.is_empty() {
        capabilities |= WITH_DATABASE;
    }
    let is_private = is_private(remote);
    if let Some(tls) = tls.clone() {
        if greeting.capabilities & TLS == 0 {
            return Err(Failure::NoTls);
        }
        capabilities |= TLS;
        packets.write(&head(capabilities)).await?;
        packets = encrypted(packets, tls, &remote.host, remote.idle_timeout).await?;
    }
    let password =
        remote.password.as_ref().map_or(&b""[..], |password| password.expose().as_bytes());
    let sealing = match key {
        Some(key) => Sealing::Known(key),
        None if is_near(&remote.host) => Sealing::Asked,
        None => Sealing::Never,
    };
    let guest = Guest { password, is_private, sealing };
    // Whatever the server's own way is, it is asked again in the one that the user has.
    let known = match greeting.plugin.as_str() {
        CACHING => CACHING,
        _ => NATIVE,
    };
    let answer = guest.answer(known, &greeting.nonce)?;
    packets.write(&response(capabilities, remote, &answer, known, name)).await?;
    guest.be_let_in(&mut packets, known.to_owned(), greeting.nonce).await?;
    Ok((packets.let_in(), address))
}

/// Whether nobody else can read what is said: one that was not verified may be anybody.
fn is_private(remote: &Remote) -> bool {
    let is_verified = matches!(&remote.tls, Tls::On(trust) if trust.verify != Verify::Nothing);
    is_verified || remote.is_socket()
}

async fn encrypted(
    packets: Packets,
    tls: Arc<ClientConfig>,
    host: &str,
    idle_timeout: Duration,
) -> Result<Packets, Failure> {
    let host = host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host)
        .map_err(|error| Failure::Lost(std::io::Error::other(error.to_string())))?;
    let (wire, sequence) = packets.into_wire()?;
    let wire = TlsConnector::from(tls).connect(name, wire).await.map_err(Failure::Lost)?;
    Ok(Packets::at(Box::new(wire), idle_timeout, sequence))
}

fn greeting(packet: &[u8]) -> Result<Greeting, Failure> {
    let mut fields = Fields(packet);
    match fields.byte()? {
        10 => {}
        0xff => return Err(Failure::Said(said(fields))),
        _ => return Err(Failure::Malformed),
    }
    let _version = fields.until_nul();
    let _connection = fields.four()?;
    let mut nonce = fields.bytes(8)?.to_vec();
    fields.byte()?;
    let low = fields.two()?;
    let [_collation, _, _] = fields.fixed()?;
    let high = fields.two()?;
    let capabilities = u32::from(low) | u32::from(high) << 16;
    let length = usize::from(fields.byte()?);
    fields.bytes(10)?;
    // The NUL behind it is counted.
    let more = fields.bytes(length.saturating_sub(9).max(12))?;
    nonce.extend(&more[..12]);
    if !fields.is_empty() && fields.0[0] == 0 {
        fields.byte()?;
    }
    let plugin = String::from_utf8_lossy(fields.until_nul()).into_owned();
    Ok(Greeting { capabilities, nonce, plugin })
}

/// What an error packet says behind its first byte, which before the greeting has no state.
pub fn said(mut fields: Fields<'_>) -> Said {
    let code = fields.two().unwrap_or_default();
    let message = match fields.0 {
        [b'#', _, _, _, _, _, message @ ..] => message,
        message => message,
    };
    Said { code, message: String::from_utf8_lossy(message).into_owned() }
}

fn head(capabilities: u32) -> Vec<u8> {
    let longest = u32::try_from(LONGEST).expect("it is a few MiB");
    let mut out = capabilities.to_le_bytes().to_vec();
    out.extend(longest.to_le_bytes());
    out.push(UTF8MB4);
    out.extend([0; 23]);
    out
}

fn response(
    capabilities: u32,
    remote: &Remote,
    answer: &[u8],
    plugin: &str,
    name: &str,
) -> Vec<u8> {
    let mut out = head(capabilities);
    let put = |out: &mut Vec<u8>, text: &str| {
        out.extend(text.bytes());
        out.push(0);
    };
    put(&mut out, &remote.user);
    // No answer is longer than a byte can say.
    put_sized(&mut out, answer);
    if capabilities & WITH_DATABASE != 0 {
        put(&mut out, &remote.database);
    }
    if capabilities & PLUGINS != 0 {
        put(&mut out, plugin);
    }
    if capabilities & ATTRIBUTES != 0 {
        let mut attributes = Vec::new();
        for text in ["program_name", name, "_client_name", "counterflow"] {
            put_sized(&mut attributes, text.as_bytes());
        }
        put_sized(&mut out, &attributes);
    }
    out
}

impl Guest<'_> {
    /// Answers what the server asks until it says yes.
    async fn be_let_in(
        &self,
        packets: &mut Packets,
        mut plugin: String,
        mut nonce: Vec<u8>,
    ) -> Result<(), Failure> {
        // A server asks a few times; one that asks for ever is none.
        for _ in 0..8 {
            let packet = packets.read().await?;
            let mut fields = Fields(&packet);
            match fields.byte()? {
                0x00 => return Ok(()),
                0xff => return Err(Failure::Said(said(fields))),
                0xfe if fields.is_empty() => {
                    return Err(Failure::Plugin("mysql_old_password".to_owned()));
                }
                0xfe => {
                    plugin = String::from_utf8_lossy(fields.until_nul()).into_owned();
                    nonce = fields.0.strip_suffix(&[0]).unwrap_or(fields.0).to_vec();
                    packets.write(&self.answer(&plugin, &nonce)?).await?;
                }
                0x01 if plugin == CACHING => match fields.byte()? {
                    // It knew the answer.
                    3 => {}
                    4 if self.is_private => packets.write(&self.in_full()).await?,
                    4 => {
                        let asked;
                        let key = match self.sealing {
                            Sealing::Known(key) => key,
                            Sealing::Never => return Err(Failure::AnyKey),
                            Sealing::Asked => {
                                packets.write(&[2]).await?;
                                asked = packets.read().await?;
                                asked.strip_prefix(&[1]).ok_or(Failure::Malformed)?
                            }
                        };
                        packets.write(&sealed(&self.in_full(), &nonce, key)?).await?;
                    }
                    _ => return Err(Failure::Malformed),
                },
                _ => return Err(Failure::Plugin(plugin)),
            }
        }
        Err(Failure::Malformed)
    }

    fn answer(&self, plugin: &str, nonce: &[u8]) -> Result<Vec<u8>, Failure> {
        match plugin {
            NATIVE | CACHING if self.password.is_empty() => Ok(Vec::new()),
            NATIVE => Ok(native(self.password, nonce)),
            CACHING => Ok(caching(self.password, nonce)),
            CLEAR if self.is_private => Ok(self.in_full()),
            CLEAR => Err(Failure::InTheOpen),
            other => Err(Failure::Plugin(other.to_owned())),
        }
    }

    fn in_full(&self) -> Vec<u8> {
        [self.password, &[0]].concat()
    }
}

fn hash(algorithm: &'static Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    digest(algorithm, &parts.concat()).as_ref().to_vec()
}

fn mixed(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other.iter().cycle()).map(|(a, b)| a ^ b).collect()
}

/// `SHA1(password) ^ SHA1(nonce, SHA1(SHA1(password)))`.
fn native(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let sha1 = |parts: &[&[u8]]| hash(&SHA1_FOR_LEGACY_USE_ONLY, parts);
    let once = sha1(&[password]);
    mixed(&once, &sha1(&[nonce, &sha1(&[&once])]))
}

/// `SHA256(password) ^ SHA256(SHA256(SHA256(password)), nonce)`.
fn caching(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let sha256 = |parts: &[&[u8]]| hash(&SHA256, parts);
    let once = sha256(&[password]);
    mixed(&once, &sha256(&[&sha256(&[&once]), nonce]))
}

/// Whether passwords can be sealed for the key, which is in PEM.
pub fn is_sealing_key(pem: &[u8]) -> bool {
    sealing_key(pem).is_some()
}

fn sealing_key(pem: &[u8]) -> Option<OaepPublicEncryptingKey> {
    let key = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
    let key = PublicEncryptingKey::from_der(key.as_ref()).ok()?;
    OaepPublicEncryptingKey::new(key).ok()
}

/// The password for the holder of the key alone.
fn sealed(password: &[u8], nonce: &[u8], key: &[u8]) -> Result<Vec<u8>, Failure> {
    if nonce.is_empty() {
        return Err(Failure::Malformed);
    }
    let key = sealing_key(key).ok_or(Failure::Malformed)?;
    let mut out = vec![0; key.ciphertext_size()];
    let mixed = mixed(password, nonce);
    let sealed = key.encrypt(&OAEP_SHA1_MGF1SHA1, &mixed, &mut out, None);
    Ok(sealed.map_err(|_| Failure::Malformed)?.to_vec())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::{KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey};
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;
    use crate::source::remote::Trust;

    const NONCE: [u8; 20] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

    fn hex(bytes: &[u8]) -> String {
        crate::domain::hexadecimal::of(bytes)
    }

    /// What a guest says to a server that says this, each behind the answer to the last, and whether it was let in.
    fn said_to(server: Vec<Vec<u8>>, is_private: bool) -> (Vec<Vec<u8>>, Result<(), String>) {
        said_by(server, is_private, Sealing::Asked)
    }

    fn said_by(
        server: Vec<Vec<u8>>,
        is_private: bool,
        sealing: Sealing<'_>,
    ) -> (Vec<Vec<u8>>, Result<(), String>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (near, far) = tokio::io::duplex(1 << 16);
            let patience = Duration::from_secs(5);
            let mut guest_side = Packets::new(Box::new(near), patience);
            let mut server_side = Packets::new(Box::new(far), patience);
            let enter = async move {
                let guest = Guest { password: b"secret", is_private, sealing };
                guest.be_let_in(&mut guest_side, CACHING.to_owned(), NONCE.to_vec()).await
            };
            let serve = async move {
                let mut heard = Vec::new();
                for packet in server {
                    let is_asking = !matches!(packet.as_slice(), [0, ..] | [1, 3] | [0xff, ..]);
                    if server_side.write(&packet).await.is_err() {
                        break;
                    }
                    if is_asking {
                        match server_side.read().await {
                            Ok(answer) => heard.push(answer.to_vec()),
                            Err(_) => break,
                        }
                    }
                }
                heard
            };
            let (entered, heard) = futures::join!(enter, serve);
            (heard, entered.map_err(|failure| format!("{failure:?}")))
        })
    }

    fn switch(plugin: &str) -> Vec<u8> {
        [&[0xfe][..], plugin.as_bytes(), &[0], &NONCE, &[0]].concat()
    }

    /// The values are PyMySQL's.
    #[test]
    fn passwords_are_proven_as_other_clients_prove_them() {
        let caching = caching(b"secret", &NONCE);
        assert_eq!(
            hex(&caching),
            "746ebe205d56a0707acb3e796e834e0dd7b1d61743b26bd5202c7a623230c7c9"
        );
        assert_eq!(hex(&native(b"secret", &NONCE)), "b32bb3a583e1340c0a1108d58b1be49781ad8c2f");
        let (heard, entered) = said_to(vec![switch(NATIVE), vec![0]], false);
        assert_eq!((heard, entered), (vec![native(b"secret", &NONCE)], Ok(())));
        let (heard, entered) = said_to(vec![switch(CACHING), vec![1, 3], vec![0]], false);
        assert_eq!((heard, entered), (vec![caching], Ok(())));
    }

    #[test]
    fn a_password_itself_is_said_where_nobody_else_can_read_it_alone() {
        let whole = || vec![b"secret\0".to_vec()];
        assert_eq!(said_to(vec![vec![1, 4], vec![0]], true), (whole(), Ok(())));
        assert_eq!(said_to(vec![switch(CLEAR), vec![0]], true), (whole(), Ok(())));
        let (heard, entered) = said_to(vec![switch(CLEAR)], false);
        assert!(heard.is_empty() && entered.unwrap_err().contains("InTheOpen"));
        let (heard, entered) = said_to(vec![switch("client_ed25519")], true);
        assert!(heard.is_empty() && entered.unwrap_err().contains("client_ed25519"));
        let (heard, entered) = said_to(vec![vec![0xfe]], true);
        assert!(heard.is_empty() && entered.unwrap_err().contains("mysql_old_password"));
        // Else it is sealed for the server's key.
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let public = key.public_key().as_der().unwrap();
        let public = BASE64_STANDARD.encode(public.as_ref());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n");
        let said = vec![vec![1, 4], [&[1], pem.as_bytes()].concat(), vec![0]];
        let (heard, entered) = said_to(said, false);
        assert_eq!((entered, &heard[0]), (Ok(()), &vec![2]));
        let key = OaepPrivateDecryptingKey::new(key).unwrap();
        let mut out = vec![0; key.min_output_size()];
        let open = key.decrypt(&OAEP_SHA1_MGF1SHA1, &heard[1], &mut out, None).unwrap();
        assert_eq!(mixed(open, &NONCE), b"secret\0");
        // One that is known needs no word of the server, and without one another machine is told nothing.
        let (heard, entered) =
            said_by(vec![vec![1, 4], vec![0]], false, Sealing::Known(pem.as_bytes()));
        assert_eq!((entered, heard.len()), (Ok(()), 1));
        let open = key.decrypt(&OAEP_SHA1_MGF1SHA1, &heard[0], &mut out, None).unwrap();
        assert_eq!(mixed(open, &NONCE), b"secret\0");
        let said = vec![vec![1, 4], [&[1], pem.as_bytes()].concat(), vec![0]];
        let (heard, entered) = said_by(said, false, Sealing::Never);
        assert!(heard.is_empty() && entered.unwrap_err().contains("AnyKey"), "{heard:?}");
    }

    #[test]
    fn only_a_server_that_was_verified_or_a_socket_is_private() {
        let mut remote = crate::source::remote::example();
        assert!(is_private(&remote));
        for (verify, expected) in [(Verify::Authority, true), (Verify::Nothing, false)] {
            remote.tls = Tls::On(Trust { verify, ..Trust::default() });
            assert_eq!(is_private(&remote), expected, "{verify:?}");
        }
        remote.tls = Tls::Off;
        assert!(!is_private(&remote));
        remote.host = "/run/mysqld/mysqld.sock".into();
        assert!(is_private(&remote));
    }

    #[test]
    fn what_is_no_greeting_is_told() {
        let wrong = |packet: &[u8]| format!("{:?}", greeting(packet).err().unwrap());
        assert!(wrong(b"HTTP/1.1 400 Bad Request").contains("Malformed"));
        assert!(wrong(b"").contains("Malformed"));
        let said = wrong(b"\xff\x10\x04Too many connections");
        assert!(said.contains("1040") && said.contains("Too many"), "{said}");
        let (_, entered) = said_to(vec![b"\xff\x15\x04#28000Access denied".to_vec()], false);
        let entered = entered.unwrap_err();
        assert!(entered.contains("1045") && entered.contains("\"Access denied\""), "{entered}");
        let (_, entered) = said_to(vec![switch(NATIVE); 20], false);
        assert!(entered.unwrap_err().contains("Malformed"), "a server that asks for ever is none");
    }
}

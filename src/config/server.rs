//! The HTTP interface of `serve`.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use axum::http::uri::Authority;

use super::document::child;
use super::raw::RawConfig;
use super::validate::Check;
use super::{Server, units};

/// Requests of one caller in a second.
const RATE: NonZeroU32 = NonZeroU32::new(500).expect("it is not zero");

/// Each run may take the memory limit.
const MAX_RUNNING: usize = 4;

/// Checks `server:`.
pub fn server(check: &mut Check, raw: &RawConfig) -> Server {
    let raw = raw.server.as_ref();
    let parse = |text: &str| {
        let remedy = "write an IP address and a port, such as `127.0.0.1:8080` or `[::1]:8080`";
        text.parse().map_err(|_| remedy.to_owned())
    };
    let text = raw.and_then(|server| server.listen.as_deref());
    let listen: Option<SocketAddr> = check.unit("/server/listen", text, parse);
    let hosts = raw.and_then(|server| server.hosts.as_deref()).unwrap_or_default();
    check.distinct("/server/hosts", hosts);
    for (index, host) in hosts.iter().enumerate().filter(|(_, host)| !host.is_empty()) {
        let is_name = host.parse::<Authority>().is_ok_and(|name| name.as_str() == name.host());
        if !is_name || host.contains('*') {
            let pointer = child("/server/hosts", &index.to_string());
            let remedy = "write what stands in the URL between `://` and the port, such as `sync.example.com`";
            check.report(&pointer, format!("`{host}` is no host name"), remedy);
        }
    }
    let text = raw.and_then(|server| server.rate_limit.as_deref());
    let rate = check.unit("/server/rate_limit", text, |text| {
        let rate = units::rate(text)?;
        let per_second = f64::from(rate.requests) / rate.per.as_secs_f64();
        // At most the number of requests, which fits.
        let whole = format!("{:.0}", per_second.ceil()).parse().ok().and_then(NonZeroU32::new);
        whole.ok_or_else(|| "write requests in a second, such as `100/s`".to_owned())
    });
    let max_running = raw.and_then(|server| server.max_running);
    let max_running = max_running.and_then(|most| usize::try_from(most.small()).ok());
    Server {
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
        hosts: hosts.iter().map(|host| host.to_lowercase()).collect(),
        rate: rate.unwrap_or(RATE),
        max_running: max_running.unwrap_or(MAX_RUNNING),
    }
}

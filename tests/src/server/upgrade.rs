//! Decides whether an upgrade request is one Discord would answer.

use super::compress::Transport;

/// What a connection asked for in its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// Transport compression.
    pub compress: Transport,
    /// The API version.
    pub version: u64,
    /// `v` is not a version Discord ever had: the connection is closed with 4012.
    pub bad_version: bool,
}

/// Reads path and query of an upgrade request for the listener at `url`; the error is an HTTP
/// status and what is wrong.
pub(super) fn check(target: &str, url: &str, strict: bool) -> Result<Query, (u16, String)> {
    let bad = |what: &str| Err((400, what.to_owned()));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (wanted_path, wanted_query) = address(url);
    if path.contains("//") {
        return bad("more than one slash before the query");
    }
    if path.trim_end_matches('/') != wanted_path.trim_end_matches('/') || !path.starts_with('/') {
        return Err((404, format!("no gateway at {path}")));
    }
    if strict && query.contains('?') {
        return bad("more than one question mark");
    }
    let mut version = None;
    let mut encoding = None;
    let mut compress = None;
    let pairs = || query.split('&').filter(|pair| !pair.is_empty());
    for pair in pairs() {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match key {
            "v" => &mut version,
            "encoding" => &mut encoding,
            "compress" => &mut compress,
            _ => continue,
        };
        if slot.replace(value).is_some() && strict {
            return bad(&format!("{key} is there twice"));
        }
    }
    for pair in wanted_query.split('&').filter(|pair| !pair.is_empty()) {
        if !pairs().any(|other| other == pair) {
            return bad(&format!("{pair} of the address is missing"));
        }
    }
    let mut answer = Query::default();
    match version.map(str::parse::<u64>) {
        Some(Ok(v)) if v == 10 || (v == 9 && !strict) => answer.version = v,
        Some(Ok(v)) if (1..10).contains(&v) => return bad("a discontinued version"),
        None => return bad("v is missing"),
        Some(_) => answer.bad_version = true,
    }
    match encoding {
        Some("json") => {}
        None if !strict => {}
        other => return bad(&format!("encoding is {other:?}, not json")),
    }
    answer.compress = match compress {
        None => Transport::Plain,
        Some("zlib-stream") => Transport::Zlib,
        Some("zstd-stream") => Transport::Zstd,
        Some(other) => return bad(&format!("unknown compression {other:?}")),
    };
    Ok(answer)
}

/// Path and query of a websocket address.
fn address(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let start = rest.find(['/', '?']).unwrap_or(rest.len());
    let rest = &rest[start..];
    rest.split_once('?').unwrap_or((rest, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_pass() {
        let q = "v=10&encoding=json";
        for (target, url) in [
            (format!("/?{q}"), "ws://h:1"),
            (format!("/?{q}"), "ws://h:1/"),
            (format!("/edge?{q}"), "ws://h:1/edge"),
            (format!("/edge/?{q}"), "ws://h:1/edge"),
            (format!("/?x=1&{q}"), "ws://h:1/?x=1"),
        ] {
            assert_eq!(check(&target, url, true).unwrap().version, 10, "{target}");
        }
        let zlib = check("/?v=10&encoding=json&compress=zlib-stream", "ws://h", true);
        assert_eq!(zlib.unwrap().compress, Transport::Zlib);
        assert!(
            check("/?v=99&encoding=json", "ws://h", true)
                .unwrap()
                .bad_version
        );
        assert!(
            check("/?v=ten&encoding=json", "ws://h", true)
                .unwrap()
                .bad_version
        );
        assert!(check("/?v=9", "ws://h", false).is_ok());
    }

    #[test]
    fn others_are_refused() {
        for (target, url, status) in [
            ("/", "ws://h", 400),
            ("/?v=10", "ws://h", 400),
            ("/?encoding=json", "ws://h", 400),
            ("/?v=6&encoding=json", "ws://h", 400),
            ("/?v=9&encoding=json", "ws://h", 400),
            ("/?v=10&encoding=etf", "ws://h", 400),
            ("/?v=10&encoding=json&compress=gzip", "ws://h", 400),
            ("/?v=10&v=10&encoding=json", "ws://h", 400),
            ("//?v=10&encoding=json", "ws://h", 400),
            ("/?v=10&encoding=json", "ws://h/?x=1", 400),
            ("/?v=10&encoding=json?v=10", "ws://h", 400),
            ("/other?v=10&encoding=json", "ws://h/edge", 404),
        ] {
            assert_eq!(check(target, url, true).unwrap_err().0, status, "{target}");
        }
    }
}

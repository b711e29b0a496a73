//! Any answer to the gateway request: data that can be used, or a fault that does not repeat the token
//! and leads to a sane wait.
//!
//! Layout of an input: the status, whether there is a `Retry-After` and its length, its text, the body.
//! A byte 1 in either stands for the token, a byte 2 for its form within a JSON string.

use std::time::{Duration, Instant};

use shardwright_core::{ApiBase, FetchMachine, FetchNext, GatewayInfo, GatewayRequest};

use crate::secret;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub fn check(data: &[u8]) {
    let [high, low, header, rest @ ..] = data else {
        return;
    };
    let status = u16::from_be_bytes([*high, *low]) % 700;
    let (header, body) = match header.checked_sub(1) {
        None => (None, rest),
        Some(len) => {
            let (header, body) = rest.split_at(usize::from(len).min(rest.len()));
            (Some(with_token(header)), body)
        }
    };
    if secret::is_spelt_in(rest) {
        return;
    }
    let header = header.map(|header| String::from_utf8_lossy(&header).into_owned());
    let body = with_token(body);

    let request = GatewayRequest::new(&ApiBase::default(), &secret::token());
    secret::must_not_show(&format!("{request:?}"));
    let result = request.read_response(status, header.as_deref(), &body);
    match &result {
        Ok(info) => check_info(status, info),
        Err(fault) => secret::must_not_show(&format!("{fault} {fault:?}")),
    }
    let fault = request.network_fault(&String::from_utf8_lossy(&body));
    secret::must_not_show(&format!("{fault} {fault:?}"));

    let now = Instant::now();
    let mut fetch = FetchMachine::new(Some(3), 7);
    for tried in 1..=3 {
        match (fetch.on_result(now, result.clone()), &result) {
            (FetchNext::Done(done), Ok(info)) => assert_eq!(done, *info),
            (FetchNext::Failed(failed), Err(fault)) => {
                assert_eq!(failed, *fault);
                assert!(fault.is_fatal() || tried == 3);
                return;
            }
            (FetchNext::RetryAt(at), Err(fault)) => {
                assert!(!fault.is_fatal() && tried < 3);
                let wait = at - now;
                assert!(wait >= Duration::from_millis(250) && wait <= DAY + Duration::from_secs(1));
            }
            (next, _) => panic!("{next:?} does not follow"),
        }
    }
}

fn check_info(status: u16, info: &GatewayInfo) {
    assert_eq!(status, 200);
    let limit = info.session_start_limit;
    assert!(info.shards >= 1 && limit.max_concurrency >= 1 && limit.reset_after <= DAY);
    assert!(info.url.to_string().starts_with("ws") && !info.url.host().is_empty());
    let text = serde_json::to_string(info).expect("it was read from JSON");
    let again: GatewayInfo = serde_json::from_str(&text).expect("it was written just now");
    assert_eq!(again, *info);
}

fn with_token(text: &[u8]) -> Vec<u8> {
    let token = secret::token();
    let escaped = serde_json::Value::from(token.expose()).to_string();
    let mut out = Vec::new();
    for byte in text {
        match byte {
            1 => out.extend(token.expose().bytes()),
            2 => out.extend(escaped.trim_matches('"').bytes()),
            byte => out.push(*byte),
        }
    }
    out
}

//! The one HTTP request of a gateway client. It blocks: run it on a plain thread.

use std::time::Duration;

use shardwright_core::{FetchFault, GatewayInfo, GatewayRequest};

/// More of an answer is not read.
const LONGEST_ANSWER: u64 = 1024 * 1024;

/// Performs the request and reads its answer.
///
/// # Errors
/// Every way in which this can fail, as the core tells them apart. Redirects are not followed: the token
/// goes to the configured host and nowhere else.
pub fn fetch(request: &GatewayRequest) -> Result<GatewayInfo, FetchFault> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into();
    let mut call = agent.get(request.url());
    for (name, value) in request.headers() {
        call = call.header(name, value);
    }
    let network = |error: ureq::Error| request.network_fault(&error);
    let mut answer = call.call().map_err(network)?;
    let status = answer.status().as_u16();
    let retry_after = answer
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let body = answer
        .body_mut()
        .with_config()
        .limit(LONGEST_ANSWER)
        .read_to_vec()
        .map_err(network)?;
    request.read_response(status, retry_after.as_deref(), &body)
}

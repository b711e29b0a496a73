//! The one HTTP request of a gateway client. It blocks: run it on a plain thread.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use shardwright_core::{FetchFault, GatewayInfo, GatewayRequest, TransportFault};
use ureq::unversioned::transport::Connector;

use crate::Network;
use crate::https::TlsConnector;
use crate::tunnel::Way;

/// More of an answer is not read.
const LONGEST_ANSWER: u64 = 1024 * 1024;
const TIME_TO_CONNECT: Duration = Duration::from_secs(10);
const TIME_IN_ALL: Duration = Duration::from_secs(30);

/// Performs the request on a thread of its own and hands the result to `reply`, exactly once.
///
/// A plain thread, for dropping an async runtime must not wait for a request that hangs.
pub fn fetch_on_thread(
    request: GatewayRequest,
    network: Network,
    reply: impl FnOnce(Result<GatewayInfo, FetchFault>) + Send + 'static,
) {
    // In a slot, so that it is still here if there is no thread to be had.
    let slot = Arc::new(std::sync::Mutex::new(Some(reply)));
    let take = |slot: &std::sync::Mutex<Option<_>>| {
        slot.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
    };
    let in_thread = Arc::clone(&slot);
    let spawned = thread::Builder::new()
        .name("shardwright-api".to_owned())
        .spawn(move || {
            let result = fetch(&request, network);
            if let Some(reply) = take(&in_thread) {
                reply(result);
            }
        });
    if let Err(error) = spawned
        && let Some(reply) = take(&slot)
    {
        reply(Err(FetchFault::network(format!("no thread: {error}"))));
    }
}

/// Performs the request and reads its answer.
///
/// # Errors
/// Every way in which this can fail, as the core tells them apart. Redirects are not followed: the token
/// goes to the configured host and nowhere else.
pub fn fetch(request: &GatewayRequest, network: Network) -> Result<GatewayInfo, FetchFault> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // The way's own affair.
        .proxy(None)
        .timeout_connect(Some(TIME_TO_CONNECT))
        .timeout_global(Some(TIME_IN_ALL))
        .build();
    let way = Way(network.proxy);
    let connector = way.clone().chain(TlsConnector::new(network.tls));
    let agent = ureq::Agent::with_parts(config, connector, way);
    let mut call = agent.get(request.url());
    for (name, value) in request.headers() {
        call = call.header(name, value);
    }
    let network = |error: ureq::Error| {
        if let ureq::Error::Other(why) = &error
            && let Some(TransportFault::Proxy(why)) = why.downcast_ref()
        {
            return FetchFault::Proxy(why.clone());
        }
        request.network_fault(&error)
    };
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

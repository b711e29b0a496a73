//! The REST side: where the gateway is, how many sessions may be started, and who the bot is, which
//! some libraries ask before they connect.

use std::time::Instant;

use serde_json::{Value, json};

use super::log::Seen;
use super::{ServerMachine, bodies};
use crate::scenario::RestFault;

/// How an HTTP answer is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Delivery {
    /// As a whole.
    #[default]
    Whole,
    /// With so many bytes of its body; then the line ends.
    Cut(usize),
    /// Not at all; the line stays open.
    Never,
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestResponse {
    /// Its status.
    pub status: u16,
    /// Its headers, but for those of length and connection.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: String,
    /// How it is delivered.
    pub delivery: Delivery,
}

impl RestResponse {
    fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", "application/json".to_owned())],
            body: body.to_string(),
            delivery: Delivery::Whole,
        }
    }

    fn error(status: u16, message: &str, code: u32) -> Self {
        Self::json(status, &json!({"message": message, "code": code}))
    }
}

impl ServerMachine {
    /// Answers an HTTP request.
    pub fn rest(
        &mut self,
        now: Instant,
        method: &str,
        path: &str,
        authorization: Option<&str>,
    ) -> RestResponse {
        self.pass_time(now);
        let mut response = self.normal_answer(method, path, authorization);
        if let Some(fault) = self.next_fault() {
            distort(&mut response, &fault);
        }
        let status = (response.delivery != Delivery::Never).then_some(response.status);
        self.note(
            None,
            Seen::Rest {
                method: method.to_owned(),
                path: path.to_owned(),
                status,
            },
        );
        response
    }

    fn next_fault(&mut self) -> Option<RestFault> {
        let fault = self.rest_faults.front_mut()?;
        let answer = fault.clone();
        let left = fault.times.unwrap_or(1).saturating_sub(1);
        fault.times = Some(left);
        if left == 0 {
            self.rest_faults.pop_front();
        }
        Some(answer)
    }

    fn normal_answer(
        &mut self,
        method: &str,
        path: &str,
        authorization: Option<&str>,
    ) -> RestResponse {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let route = ["/api/v10", "/api/v9"]
            .iter()
            .find_map(|base| path.strip_prefix(base));
        let Some(
            route @ ("/gateway"
            | "/gateway/bot"
            | "/users/@me"
            | "/applications/@me"
            | "/oauth2/applications/@me"),
        ) = route
        else {
            return RestResponse::error(404, "404: Not Found", 0);
        };
        if method != "GET" {
            return RestResponse::error(405, "405: Method Not Allowed", 0);
        }
        if route == "/gateway" {
            return RestResponse::json(200, &json!({"url": self.config.main_url}));
        }
        let good = authorization
            .and_then(|value| value.strip_prefix("Bot "))
            .is_some_and(|token| !self.revoked && self.config.tokens.accept(token));
        if !good {
            return RestResponse::error(401, "401: Unauthorized", 0);
        }
        match route {
            "/gateway/bot" => RestResponse::json(200, &self.gateway_bot()),
            "/users/@me" => RestResponse::json(200, &bodies::own_user()),
            _ => RestResponse::json(200, &bodies::application(&self.config)),
        }
    }

    fn gateway_bot(&mut self) -> Value {
        let remaining = self.remaining();
        let reset_after = (self.window_end - self.now).as_millis();
        json!({
            "url": self.config.main_url,
            "shards": self.config.shards,
            "session_start_limit": {
                "total": self.config.total,
                "remaining": remaining,
                "reset_after": u64::try_from(reset_after).unwrap_or(u64::MAX),
                "max_concurrency": self.config.max_concurrency,
            },
        })
    }
}

fn distort(response: &mut RestResponse, fault: &RestFault) {
    match fault.status {
        Some(429) => {
            let wait = fault
                .retry_after
                .or_else(|| fault.retry_after_header.map(|s| s as f64));
            *response = RestResponse::json(
                429,
                &json!({"message": "You are being rate limited.",
                        "retry_after": wait.unwrap_or(1.0), "global": false}),
            );
        }
        Some(status) if status != 200 => {
            *response = RestResponse::error(status, &format!("{status}: scripted"), 0);
        }
        _ => {}
    }
    if let Some(seconds) = fault.retry_after_header {
        response.headers.push(("Retry-After", seconds.to_string()));
    }
    if fault.html {
        response.headers.retain(|(name, _)| *name != "Content-Type");
        response
            .headers
            .push(("Content-Type", "text/html".to_owned()));
        response.body = format!(
            "<!DOCTYPE html><html><head><title>{0}</title></head><body>{0}</body></html>",
            response.status
        );
    }
    if let Some(bytes) = fault.cut_body {
        response.delivery = Delivery::Cut(bytes);
    }
    if fault.hang {
        response.delivery = Delivery::Never;
    }
}

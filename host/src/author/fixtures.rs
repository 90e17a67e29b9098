//! Upstreams that answer a plugin's calls from a file of test cases.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};

use super::cases::{self, Fixture};
use super::walk;
use crate::plugin::Script;

/// One upstream's fixtures, and the calls without a matching one.
pub struct Fixtures {
    upstream: String,
    /// Each with its response, made once: a bench must measure the caller only.
    fixtures: Vec<(Fixture, Option<Response<Bytes>>)>,
    unanswered: Mutex<Vec<String>>,
}

impl Fixtures {
    pub fn new(upstream: &str, fixtures: &[Fixture]) -> Fixtures {
        let answered = fixtures.iter().map(|fixture| (fixture.clone(), fixture.response.as_ref().map(response)));
        Fixtures { upstream: upstream.to_owned(), fixtures: answered.collect(), unanswered: Mutex::default() }
    }

    /// The calls so far without a matching fixture.
    pub fn take_unanswered(&self) -> Vec<String> {
        std::mem::take(&mut *self.unanswered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Script for Fixtures {
    fn answer(&self, request: &Request<Bytes>) -> Option<Response<Bytes>> {
        match self.fixtures.iter().find(|(fixture, _)| fixture.fits(request)) {
            Some((_, response)) => response.clone(),
            None => {
                let call = format!("{} {} of upstream {:?}", request.method(), request.uri(), self.upstream);
                self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).push(call);
                None
            }
        }
    }
}

impl Fixture {
    fn fits(&self, request: &Request<Bytes>) -> bool {
        let has = |(name, value): (&String, &String)| {
            request.headers().get_all(name.as_str()).iter().any(|held| held.as_bytes() == value.as_bytes())
        };
        self.method.as_ref().is_none_or(|method| request.method().as_str() == method)
            && self.path.as_ref().is_none_or(|path| request.uri() == path.as_str())
            && self.headers.iter().all(has)
    }
}

fn response(written: &cases::Response) -> Response<Bytes> {
    let body = cases::pieces(written.body.as_ref(), written.json.as_ref(), &written.chunks).concat();
    let mut response = Response::new(Bytes::from(body));
    // Responses that cannot be sent were refused when the file was read.
    *response.status_mut() = http::StatusCode::from_u16(written.status).unwrap_or_default();
    *response.headers_mut() = walk::headers(&written.headers).unwrap_or_default();
    response
}

//! Which hooks a plugin runs, so that the others cost nothing.

use super::artifact::Exports;
use super::bindings::hooks::Hook;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HookSet {
    pub request: bool,
    pub request_body: bool,
    pub response: bool,
    pub response_body: bool,
    pub complete: bool,
}

impl HookSet {
    pub fn new(exports: &Exports) -> HookSet {
        HookSet {
            request: exports.on_request.is_some(),
            request_body: exports.on_request_body.is_some(),
            response: exports.on_response.is_some(),
            response_body: exports.on_response_body.is_some(),
            complete: exports.on_complete.is_some(),
        }
    }

    /// Whether there is any hook besides the request hook: then part of the exchange is kept for later.
    pub fn after_request(self) -> bool {
        self.request_body || self.response || self.response_body || self.complete
    }

    pub fn skip(&mut self, hook: Hook) {
        *match hook {
            Hook::Request => &mut self.request,
            Hook::RequestBody => &mut self.request_body,
            Hook::Response => &mut self.response,
            Hook::ResponseBody => &mut self.response_body,
            Hook::Completion => &mut self.complete,
        } = false;
    }
}

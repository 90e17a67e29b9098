//! Background revalidation: the fetch that no client waits for, because it has been served the stale response already.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Method, Request, Response, StatusCode, request};

use super::cached::{Way, drain, now_s};
use super::client;
use crate::body::Body;
use crate::cache::{self, Asked, Conditions, Draft, Entry, Event, Head, Rules, Ticket};
use crate::exchange::Exchange;
use crate::headers;
use crate::snapshot::{Edits, Found, Goal, Target};
use crate::upstream::{self, Ask, Upstream};

/// Revalidates an entry in the background: it continues if the client disconnects, for as long as an attempt may take.
pub(super) fn refresh(way: Way<'_>, asked: &Asked, exchange: &Exchange, ticket: Ticket, entry: Arc<Entry>) {
    let Way { found, rules } = way;
    let Found { snapshot, route, .. } = found;
    let version = exchange.version.as_ref().map(|version| version.index);
    let Some(target) = route.pick(exchange.upstream_choice.as_deref(), version) else { return };
    let Goal::Upstream(to) = &target.goal else { return };
    let fields = exchange.request.headers.clone();
    let Some(head) = question(found, target, exchange, &entry) else { return };
    let background = Background {
        to: to.clone(),
        ask: to.ask(&client(exchange), &exchange.request.target, &fields),
        forwarding: snapshot.forwarding.clone(),
        edits: target.edits.clone(),
        rules: rules.clone(),
        // The client's cache directives are about its own answer.
        asked: Asked { directives: cache::Directives::default(), is_authorised: asked.is_authorised },
        fields,
        entry,
    };
    tokio::spawn(background.run(Request::from_parts(head, Body::Empty), ticket));
}

/// The head of a request that asks whether an entry is still good.
fn question(found: Found<'_>, target: &Target, exchange: &Exchange, entry: &Entry) -> Option<request::Parts> {
    let mut request = Request::new(());
    *request.uri_mut() = exchange.request.target.clone().into();
    *request.headers_mut() = exchange.request.headers.clone();
    let mut head = request.into_parts().0;
    Conditions::strip(&mut head.headers);
    entry.ask(&mut head.headers);
    if let Some(edits) = &target.edits {
        edits.request(&mut head, found.pattern()).ok()?;
    }
    Some(head)
}

/// A fetch that no client waits for.
struct Background {
    to: Arc<Upstream>,
    ask: Ask,
    forwarding: headers::Policy,
    edits: Option<Arc<Edits>>,
    rules: Rules,
    asked: Asked,
    fields: HeaderMap,
    entry: Arc<Entry>,
}

impl Background {
    async fn run(self, request: Request<Body>, ticket: Ticket) {
        let began = Instant::now();
        let mut facts = upstream::Facts::default();
        // A failure leaves the entry as it was; the next request tries again.
        let Ok(response) = self.to.send(request, &self.ask, &mut facts).await else { return };
        let (head, body) = self.settle(response);
        let (now_s, delay_s) = (now_s(), began.elapsed().as_secs());
        let cache = ticket.cache().clone();
        if head.status == StatusCode::NOT_MODIFIED {
            if let Some(fresh) = self.entry.refreshed(&self.asked, &self.rules, &head.headers, now_s, delay_s) {
                cache.count(Event::Revalidated);
                cache.put(ticket, fresh);
            }
            return;
        }
        if cache::is_error(head.status) {
            return;
        }
        match Head::of(&self.asked, &self.rules, &self.fields, head.status, &head.headers, now_s, delay_s) {
            Some(kept) => {
                let max_body = self.rules.max_body;
                if let Some(draft) = Draft::begin(ticket, kept, max_body, &body) {
                    drain(cache::record(draft, body), max_body).await;
                }
            }
            None => cache.pass(ticket, now_s),
        }
    }

    fn settle(&self, response: Response<Body>) -> (http::response::Parts, Body) {
        let (mut head, body) = response.into_parts();
        headers::from_upstream(&Method::GET, head.status, head.version, &mut head.headers, &self.forwarding);
        if let Some(edits) = &self.edits {
            edits.response(&mut head.headers);
        }
        (head, body)
    }
}

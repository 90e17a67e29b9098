//! The settings that apply to the connections of each listener, also after the listener is gone.
//!
//! A renamed or removed listener leaves connections behind: those waiting to be accepted, and those kept alive. Its
//! address lists, redirects to https and certificates apply to them to their end.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::https::Https;
use super::layer4::Rules;
use super::{Listen, Snapshot};
use crate::networks::Gate;
use crate::tls;

/// A listener as its connections know it.
#[derive(Clone)]
pub struct Listener {
    pub listen: Listen,
    pub parting: Parting,
}

/// The policy that a listener had last, from when it is taken out of the configuration on. All its clones are one.
#[derive(Clone, Default)]
pub struct Parting(Arc<OnceLock<ListenerPolicy>>);

/// What is asked of the connections of a listener.
pub struct ListenerPolicy {
    rules: Arc<Rules>,
    https: Option<Arc<Https>>,
    tls: Option<Arc<tls::Server>>,
}

impl Deref for Listener {
    type Target = Listen;

    fn deref(&self) -> &Listen {
        &self.listen
    }
}

impl Listener {
    /// None as long as the configuration that runs has it.
    #[inline]
    fn last(&self) -> Option<&ListenerPolicy> {
        self.parting.0.get()
    }
}

impl Parting {
    /// The listener goes, and had this policy. To be said before a configuration runs that does not have it.
    pub fn with(&self, policy: ListenerPolicy) {
        // A listener goes once.
        let _ = self.0.set(policy);
    }
}

impl Snapshot {
    /// What this snapshot asks of the connections of a listener; `None` where it has none of that name.
    pub fn listener_policy(&self, name: &str) -> Option<ListenerPolicy> {
        let rules = self.rules.get(name)?.clone();
        Some(ListenerPolicy { rules, https: self.https.get(name).cloned(), tls: self.servers.get(name).cloned() })
    }

    /// What holds for the connections of this listener: what it had last, where this snapshot has none of its name.
    /// `None` where nobody knows of it.
    pub fn rules_of<'a>(&'a self, listener: &'a Listener) -> Option<&'a Arc<Rules>> {
        self.rules.get(&listener.name).or_else(|| Some(&listener.last()?.rules))
    }

    /// What the listener does for its clients to come over TLS; `None` where that is nothing.
    #[inline]
    pub fn https<'a>(&'a self, listener: &'a Listener) -> Option<&'a Https> {
        match listener.last() {
            None => self.https.get(&listener.name).map(Arc::as_ref),
            Some(last) => self.https_after(listener, last),
        }
    }

    /// The same where the listener has gone. Another of its name says it only where its connections are of the same kind:
    /// one with TLS has no redirect for those that came without.
    #[cold]
    fn https_after<'a>(&'a self, listener: &'a Listener, last: &'a ListenerPolicy) -> Option<&'a Https> {
        let kind = |listen: &Listen| (listen.name.clone(), listen.layer, listen.tls);
        let is_alike = |other: &&Listen| kind(other) == kind(listener);
        match self.listeners.iter().find(is_alike) {
            Some(other) => self.https.get(&other.name).map(Arc::as_ref),
            None => last.https.as_deref(),
        }
    }

    /// Who may send requests to a listener; `None` where it is everybody.
    #[inline]
    pub fn gate<'a>(&'a self, listener: &'a Listener) -> Option<&'a Gate> {
        let any = self.has_gates || listener.last().is_some();
        if any { self.rules_of(listener)?.gate.as_ref() } else { None }
    }

    /// The TLS that the connections of this listener speak: what it had last, where this snapshot has none of its name.
    pub fn tls_of<'a>(&'a self, listener: &'a Listener) -> Option<&'a Arc<tls::Server>> {
        self.servers.get(&listener.name).or_else(|| listener.last()?.tls.as_ref())
    }
}

//! The settings that apply to the connections of each listener, also after the listener is gone.
//!
//! A renamed or removed listener leaves connections behind: those waiting to be accepted, and those kept alive. Its
//! address lists, redirects to https and certificates apply to them to their end.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::https::Https;
use super::layer4::Rules;
use super::{Listen, Snapshot};
use crate::exchange::Observer;
use crate::networks::Gate;
use crate::tls;

/// A listener as its connections refer to it.
#[derive(Clone)]
pub struct Listener {
    pub listen: Listen,
    pub parting: Parting,
    /// Gets the record of each exchange.
    pub observer: Arc<dyn Observer>,
}

/// The last policy of a listener, set when it is removed from the configuration. Shared by all clones.
#[derive(Clone, Default)]
pub struct Parting(Arc<OnceLock<ListenerPolicy>>);

/// What applies to the connections of a listener.
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
    /// `None` as long as the running configuration has the listener.
    #[inline]
    fn last(&self) -> Option<&ListenerPolicy> {
        self.parting.0.get()
    }
}

impl Parting {
    /// Notes that the listener is removed, and its last policy. Call it before a configuration without the listener
    /// runs.
    pub fn with(&self, policy: ListenerPolicy) {
        // A listener is removed only once.
        let _ = self.0.set(policy);
    }
}

impl Snapshot {
    /// The policy for the connections of a listener; `None` if this snapshot has no listener of that name.
    pub fn listener_policy(&self, name: &str) -> Option<ListenerPolicy> {
        let rules = self.rules.get(name)?.clone();
        Some(ListenerPolicy { rules, https: self.https.get(name).cloned(), tls: self.servers.get(name).cloned() })
    }

    /// The rules for the connections of this listener: its last ones, if this snapshot has no listener of its name.
    /// `None` if there are neither.
    pub fn rules_of<'a>(&'a self, listener: &'a Listener) -> Option<&'a Arc<Rules>> {
        self.rules.get(&listener.name).or_else(|| Some(&listener.last()?.rules))
    }

    /// How the listener makes its clients use TLS; `None` if it does not.
    #[inline]
    pub fn https<'a>(&'a self, listener: &'a Listener) -> Option<&'a Https> {
        match listener.last() {
            None => self.https.get(&listener.name).map(Arc::as_ref),
            Some(last) => self.https_after(listener, last),
        }
    }

    /// The same for a listener that was removed. Another listener of its name counts only if it has connections of the
    /// same kind: one with TLS has no redirect for plaintext connections.
    #[cold]
    fn https_after<'a>(&'a self, listener: &'a Listener, last: &'a ListenerPolicy) -> Option<&'a Https> {
        let kind = |listen: &Listen| (listen.name.clone(), listen.layer, listen.tls);
        let is_alike = |other: &&Listen| kind(other) == kind(listener);
        match self.listeners.iter().find(is_alike) {
            Some(other) => self.https.get(&other.name).map(Arc::as_ref),
            None => last.https.as_deref(),
        }
    }

    /// Who may send requests to a listener; `None` for everybody.
    #[inline]
    pub fn gate<'a>(&'a self, listener: &'a Listener) -> Option<&'a Gate> {
        let any = self.has_gates || listener.last().is_some();
        if any { self.rules_of(listener)?.gate.as_ref() } else { None }
    }

    /// The TLS for the connections of this listener: its last one, if this snapshot has no listener of its name.
    pub fn tls_of<'a>(&'a self, listener: &'a Listener) -> Option<&'a Arc<tls::Server>> {
        self.servers.get(&listener.name).or_else(|| listener.last()?.tls.as_ref())
    }
}

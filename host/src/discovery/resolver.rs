//! Resolution: the hosts file, then DNS.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;

use super::{Answer, Family, Found, Query, SYSTEM, Settings, hosts};

/// Resolves names. It belongs to the runtime that first uses it, where its connections live.
pub struct Resolver {
    dns: TokioResolver,
    settings: Settings,
}

/// Why there is no answer, as text for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverError(String);

impl Resolver {
    /// # Errors
    /// No servers are given, and the system's cannot be read.
    pub fn new(settings: Settings) -> Result<Resolver, ResolverError> {
        let mut builder = if settings.servers.is_empty() {
            let mistake = |reason: String| ResolverError(format!("the system's DNS settings: {reason}"));
            let text = settings.system.as_ref().ok_or_else(|| mistake(format!("{SYSTEM} cannot be read")))?;
            let (config, options) = parse_resolv_conf(text).map_err(|error| mistake(error.to_string()))?;
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options)
        } else {
            let server = |server: &std::net::SocketAddr| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                NameServerConfig::new(server.ip(), true, connections.into())
            };
            let servers = settings.servers.iter().map(server).collect();
            TokioResolver::builder_with_config(
                ResolverConfig::from_name_servers(servers),
                TokioRuntimeProvider::default(),
            )
        };
        let options = builder.options_mut();
        options.timeout = settings.timeout;
        options.attempts = REPETITIONS;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        // An attacker who guesses answers would have to guess the letters' case as well (draft-vixie-dnsext-dns0x20).
        options.case_randomization = true;
        let dns = builder.build().map_err(|error| ResolverError(error.to_string()))?;
        Ok(Resolver { dns, settings })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Resolves a name once. That it has no addresses is an answer.
    ///
    /// # Errors
    /// No server answered, or a server reported a failure.
    pub async fn resolve(&self, query: &Query) -> Result<Answer, ResolverError> {
        // Each of the several questions of one query has its own time limit; this is the limit for all together.
        let patience = self.settings.timeout.saturating_mul(PATIENCE);
        let asked = async {
            match query {
                Query::Host { host, port, family } => {
                    let (addresses, ttl) = self.addresses(host, *family).await?;
                    let found = |ip| Found { address: (ip, *port).into(), host: host.clone(), priority: 0, weight: 1 };
                    Ok(Answer { found: addresses.into_iter().take(MOST).map(found).collect(), ttl })
                }
                Query::Service { name, family } => self.service(name, *family).await,
            }
        };
        let late = || Err(ResolverError(format!("no answer within {patience:?}")));
        tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| late())
    }

    /// The used addresses of a host, and for how long they are valid.
    async fn addresses(&self, host: &str, family: Family) -> Result<(Vec<IpAddr>, Duration), ResolverError> {
        let listed = hosts::addresses(&self.settings.hosts, host);
        if !listed.is_empty() {
            return Ok((family.choose(listed), HOSTS_TTL));
        }
        // A failure does not mean that there are none: otherwise a lost answer about IPv4 would move everything to
        // IPv6.
        let first = match family {
            Family::Ipv4 | Family::Ipv4First | Family::All => RecordType::A,
            Family::Ipv6 | Family::Ipv6First => RecordType::AAAA,
        };
        let (mut addresses, mut ttl) = self.ask(host, first, address).await?;
        let other = match family {
            Family::Ipv4First if addresses.is_empty() => Some(RecordType::AAAA),
            Family::Ipv6First if addresses.is_empty() => Some(RecordType::A),
            Family::All => Some(RecordType::AAAA),
            _ => None,
        };
        if let Some(other) = other {
            let had_some = !addresses.is_empty();
            let (more, other_ttl) = self.ask(host, other, address).await?;
            ttl = match (had_some, more.is_empty()) {
                (true, true) => ttl,
                (false, false) => other_ttl,
                _ => ttl.min(other_ttl),
            };
            addresses.extend(more);
        }
        Ok((family.choose(addresses), ttl))
    }

    /// The servers of a service: those of all its SRV records, with the addresses of each.
    async fn service(&self, name: &str, family: Family) -> Result<Answer, ResolverError> {
        let record = |data: &RData| match data {
            RData::SRV(service) => Some((service.priority, service.weight, service.port, service.target.clone())),
            _ => None,
        };
        let (mut services, mut ttl) = self.ask(name, RecordType::SRV, record).await?;
        // A target of "." means that the service is not offered (RFC 2782).
        services.retain(|(_, _, port, target)| !target.is_root() && *port > 0);
        services.sort_unstable();
        let priorities: BTreeSet<u16> = services.iter().map(|(priority, ..)| *priority).collect();
        let mut found: Vec<Found> = Vec::new();
        for (priority, weight, port, target) in services {
            let host: Arc<str> = host_text(&target).into();
            let (addresses, target_ttl) = self.addresses(&target.to_ascii(), family).await?;
            ttl = ttl.min(target_ttl);
            let rank = priorities.iter().position(|known| *known == priority).unwrap_or_default();
            let rank = u32::try_from(rank).unwrap_or(u32::MAX);
            for ip in addresses {
                let address = (ip, port).into();
                if found.len() < MOST && !found.iter().any(|known| known.address == address) {
                    // A weight of 0 means a small chance, not none (RFC 2782).
                    found.push(Found { address, host: host.clone(), priority: rank, weight: u32::from(weight).max(1) });
                }
            }
        }
        found.sort_unstable();
        Ok(Answer { found, ttl })
    }

    /// Asks DNS one question; `take` selects from its records. That there are none is an answer as well.
    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        take: impl Fn(&RData) -> Option<T>,
    ) -> Result<(Vec<T>, Duration), ResolverError> {
        match self.dns.lookup(name, kind).await {
            Ok(lookup) => {
                let ttl = lookup.valid_until().saturating_duration_since(Instant::now());
                // Rounded up, because some of it has passed since the answer was read.
                let ttl = Duration::from_secs(ttl.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX));
                Ok((records(&lookup, kind, take), ttl))
            }
            Err(NetError::Dns(hickory_resolver::net::DnsError::NoRecordsFound(none))) => {
                Ok((Vec::new(), none.negative_ttl.map_or(EMPTY_TTL, |ttl| Duration::from_secs(ttl.into()))))
            }
            Err(error) => Err(ResolverError(error.to_string())),
        }
    }
}

/// Resolves all of these at once, on a thread and a runtime of its own: for callers that cannot wait as a task.
///
/// # Errors
/// No server can be asked.
pub fn ask_all(settings: &Settings, queries: BTreeSet<Query>) -> Result<Answers, ResolverError> {
    let asking = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ResolverError(format!("no runtime for DNS: {error}")))?;
        runtime.block_on(async {
            let resolver = Arc::new(Resolver::new(settings.clone())?);
            let mut asked = tokio::task::JoinSet::new();
            for query in queries {
                let resolver = Arc::clone(&resolver);
                asked.spawn(async move { (resolver.resolve(&query).await, query) });
            }
            let mut answers = Answers::new();
            while let Some(Ok((answer, query))) = asked.join_next().await {
                answers.insert(query, answer);
            }
            Ok(answers)
        })
    };
    let lost = |_| Err(ResolverError("the thread for DNS was lost".to_owned()));
    std::thread::scope(|scope| scope.spawn(asking).join().unwrap_or_else(lost))
}

/// The result of each query.
pub type Answers = BTreeMap<Query, Result<Answer, ResolverError>>;

fn records<T>(lookup: &Lookup, kind: RecordType, take: impl Fn(&RData) -> Option<T>) -> Vec<T> {
    let of_kind = lookup.answers().iter().filter(|record| record.record_type() == kind);
    of_kind.filter_map(|record| take(&record.data)).take(MOST).collect()
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

fn host_text(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_ascii_lowercase()
}

impl fmt::Display for ResolverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ResolverError {}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// An unanswered question is repeated once.
const REPETITIONS: usize = 1;

/// The limit for a whole query, in time limits of one question.
const PATIENCE: u32 = 4;

/// The most servers of one name. More records are a mistake, or an attack on the memory.
const MOST: usize = 1000;

/// How long entries of the hosts file are valid: reading it costs little.
const HOSTS_TTL: Duration = Duration::from_secs(5);

/// How long the absence of records is valid, if the zone does not say.
const EMPTY_TTL: Duration = Duration::from_secs(5);

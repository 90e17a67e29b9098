//! Probes and ejection of an upstream from their configuration.

use std::num::NonZeroU16;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::{self, EjectOn};
use crate::health::{Ejection, FailureKind, Schedule, SuccessRate, Thresholds};
use crate::upstream::{GrpcProbe, HttpProbe, Probe, Probing, TcpProbe};

pub(super) fn probing(config: &config::Health) -> Probing {
    Probing {
        probe: probe(config),
        schedule: Schedule { interval: config.interval.into(), jitter: config.jitter },
        timeout: config.timeout().into(),
        thresholds: Thresholds { rise: config.rise, fall: config.fall },
        starts_healthy: config.initial == config::InitialHealth::Healthy,
        port: config.port.and_then(NonZeroU16::new),
    }
}

pub(super) fn ejection(config: &config::Ejection) -> Ejection {
    let kind = |on: &EjectOn| match on {
        EjectOn::ConnectFailure => FailureKind::ConnectFailure,
        EjectOn::Reset => FailureKind::Reset,
        EjectOn::Timeout => FailureKind::Timeout,
        EjectOn::GatewayError => FailureKind::GatewayError,
        EjectOn::ServerError => FailureKind::ServerError,
    };
    Ejection {
        on: config.on.iter().map(kind).collect(),
        consecutive: config.consecutive,
        success_rate: config.success_rate.as_ref().map(|rate| SuccessRate {
            margin: rate.margin,
            window: rate.window.into(),
            min_requests: rate.min_requests.into(),
            min_endpoints: rate.min_endpoints,
        }),
        time: config.time.into(),
        max_time: config.max_time().into(),
        max_ejected: config.max_ejected,
    }
}

/// The schema and the checks have already seen all of these texts, so parsing cannot fail here.
fn probe(config: &config::Health) -> Probe {
    let host = config.host.as_deref().and_then(|host| HeaderValue::from_str(host).ok());
    if let Some(tcp) = &config.tcp {
        return Probe::Tcp(TcpProbe {
            send: tcp.send.as_deref().map(Into::into),
            expect: tcp.expect.as_deref().map(Into::into),
        });
    }
    if let Some(grpc) = &config.grpc {
        return Probe::Grpc(GrpcProbe { service: grpc.service.as_str().into(), host, headers: headers(config) });
    }
    Probe::Http(HttpProbe {
        method: config.method.as_str().parse().unwrap_or(Method::GET),
        path: config.path.parse().unwrap_or_else(|_| PathAndQuery::from_static("/")),
        host,
        headers: headers(config),
        statuses: config.expect.status.iter().map(|range| range.get()).collect(),
        body: config.expect.body.as_deref().map(Into::into),
    })
}

fn headers(config: &config::Health) -> HeaderMap {
    let field = |(name, value): (&config::HeaderName, &String)| {
        Some((HeaderName::from_bytes(name.as_str().as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    };
    config.headers.iter().filter_map(field).collect()
}

//! What the store of a service's instance holds.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::ServiceLimits;
use super::meter::Meter;
use super::onward::Next;
use super::outgoing::Outgoing;
use super::printed::Printed;
use crate::upstream::Upstream;

/// The data of one store.
pub(super) struct Guest {
    limits: Arc<ServiceLimits>,
    meter: Arc<Meter>,
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    /// What is behind a middleware.
    next: Option<Arc<dyn Next>>,
    broke_off: Arc<OnceLock<BrokenOff>>,
    printed: Printed,
    memory_bytes: usize,
    is_out_of_memory: bool,
}

/// Why a request body broke off in the middle of being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokenOff {
    /// The client has left.
    Left,
    /// The client sent what cannot be read.
    Unreadable,
}

/// A limit that the guest hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hit {
    Time,
    Memory,
}

impl Guest {
    pub fn new(
        name: &Arc<str>,
        limits: Arc<ServiceLimits>,
        upstreams: Arc<BTreeMap<Arc<str>, Arc<Upstream>>>,
        meter: Arc<Meter>,
        next: Option<Arc<dyn Next>>,
    ) -> Guest {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        let printed = Printed::new(name.clone(), limits.log_lines);
        let mut wasi = WasiCtx::builder();
        // No directories, environment or arguments: the guest sees only what it is given. Sockets exist, and refuse
        // everything.
        wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false).max_random_size(RANDOM_BYTES);
        wasi.stdout(printed.clone()).stderr(printed.clone());
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELD_BYTES);
        let outgoing = Outgoing::new(upstreams, limits.callouts, limits.callout_timeout);
        Guest {
            limits,
            meter,
            table,
            wasi: wasi.build(),
            http,
            outgoing,
            next,
            broke_off: Arc::default(),
            printed,
            memory_bytes: 0,
            is_out_of_memory: false,
        }
    }

    pub fn meter(&self) -> Arc<Meter> {
        self.meter.clone()
    }

    /// Set if the client does not send the body to its end.
    pub fn broke_off(&self) -> Arc<OnceLock<BrokenOff>> {
        self.broke_off.clone()
    }

    /// Called at each tick: the guest continues after other tasks had a turn, unless it has used up its time.
    pub fn at_tick(&self) -> UpdateDeadline {
        if self.meter.is_over() { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) }
    }

    pub fn hit(&self) -> Option<Hit> {
        match (self.is_out_of_memory, self.meter.is_over()) {
            (true, _) => Some(Hit::Memory),
            (false, true) => Some(Hit::Time),
            (false, false) => None,
        }
    }

    /// What is behind the middleware, for one more call.
    ///
    /// # Errors
    /// It has made as many calls as it may, or there is nothing behind it.
    pub fn next(&mut self) -> Result<Arc<dyn Next>, ErrorCode> {
        self.outgoing.count().map_err(|_| ErrorCode::ConnectionLimitReached)?;
        self.next.clone().ok_or(ErrorCode::HttpRequestDenied)
    }

    /// Logs an unfinished line.
    pub fn end_lines(&mut self) {
        self.printed.end();
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: &mut self.table, ctx: &mut self.http }
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if total > self.limits.memory_bytes {
            self.is_out_of_memory = true;
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

/// Requests, bodies, streams and similar resources that a guest may hold at once.
pub(super) const RESOURCES: usize = 10_000;
/// The most bytes that one call may pass to the host; the same as for a plugin.
pub(super) const CALL_BYTES: usize = 2 << 20;
/// The most random bytes per call.
const RANDOM_BYTES: u64 = 64 << 10;
/// The header fields of one message, in bytes of memory.
const FIELD_BYTES: usize = 128 << 10;
/// The most elements of one table.
const TABLE_ELEMENTS: usize = 60_000;

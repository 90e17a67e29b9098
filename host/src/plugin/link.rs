//! Gives a component what it imports, and nothing else.
//!
//! A linker is made for one component: only the interfaces it imports are defined, each after its grant was checked. So
//! a plugin whose imports never wait is linked without a single async function, and is called without a fiber. The
//! `exchange` interface is linked by hand: its arguments are read in place from the guest's memory. Plugins that run
//! directly are linked in `direct`.

use wasmtime::StoreContextMut;
use wasmtime::component::{Component, HasSelf, Linker, LinkerInstance, WasmList, WasmStr};

use super::artifact::Import;
use super::bindings::{
    self, BodyMode, Caller, Direction, MutateError, Section, clock, codec, concurrency, consumers, hooks, http_client,
    json_schema, jwt, log, metrics, password, random, rate_limit, seal, secrets, shared_store, single_flight, types,
};
use super::engine::Engine;
use super::run::Edit;
use super::state::State;
use super::{edit, guard, minimal_wasi, shared};

/// Where a plugin's limits, concurrency slots and stored entries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// In this process, which answers immediately.
    Own,
    /// In a server that several gateways share, whose answers have to be waited for.
    Shared,
}

/// The linker for a component with these imports.
pub(super) fn linker(
    engine: &Engine,
    component: &Component,
    imports: &[Import],
    counts: Counts,
) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine.wasmtime());
    for import in imports {
        let linker = &mut linker;
        if counts == Counts::Shared && shared::link(linker, import)? {
            continue;
        }
        match import {
            Import::Types => types::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::Exchange => exchange(linker.instance("gatewright:plugin/exchange@0.1.0")?)?,
            Import::Hooks => hooks::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::Log => log::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::Metrics => metrics::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::Clock => clock::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::Random => random::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::SharedStore => shared_store::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::RateLimit => rate_limit::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::Concurrency => concurrency::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::Codec => codec::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::JsonSchema => json_schema::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::Consumers => consumers::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::Jwt => jwt::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::Seal => seal::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::Secrets => secrets::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::HttpClient => http_client::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::SingleFlight => single_flight::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::Password => password::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?,
            Import::Wasi(name) => minimal_wasi::link(linker, name)?,
        }
    }
    // The remaining imports are parts of WASI beyond the minimum.
    linker.define_unknown_imports_as_traps(component)?;
    Ok(linker)
}

type Store<'a> = StoreContextMut<'a, State>;
type Changed = (Result<(), MutateError>,);

fn exchange(mut exchange: LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    let e = &mut exchange;
    e.func_wrap("method", |s: Store, ()| Ok((begin(s)?.data().exchange()?.request.method.as_str().to_owned(),)))?;
    e.func_wrap("scheme", |s: Store, ()| Ok((begin(s)?.data().exchange()?.request.scheme.as_str().to_owned(),)))?;
    e.func_wrap("authority", |s: Store, ()| Ok((begin(s)?.data().exchange()?.request.authority().to_owned(),)))?;
    e.func_wrap("path", |s: Store, ()| Ok((begin(s)?.data().exchange()?.request.target.as_str().to_owned(),)))?;
    e.func_wrap("status", |s: Store, ()| Ok((edit::status(begin(s)?.data().exchange()?),)))?;

    e.func_wrap("header", |s: Store, (section, name): (Section, WasmStr)| {
        let s = begin(s)?;
        Ok((edit::header(s.data().exchange()?, section, &name.to_str(&s)?),))
    })?;
    e.func_wrap("select-headers", |s: Store, (section, names): (Section, Vec<String>)| {
        let s = begin(s)?;
        let exchange = s.data().exchange()?;
        Ok((names.iter().map(|name| edit::header(exchange, section, name)).collect::<Vec<_>>(),))
    })?;
    e.func_wrap("header-values", |s: Store, (section, name): (Section, WasmStr)| {
        let s = begin(s)?;
        Ok((edit::header_values(s.data().exchange()?, section, &name.to_str(&s)?),))
    })?;
    e.func_wrap("headers", |s: Store, (section,): (Section,)| {
        Ok((edit::all_headers(begin(s)?.data().exchange()?, section),))
    })?;
    e.func_wrap("encoded-headers", |s: Store, (section,): (Section,)| {
        Ok((edit::encoded_headers(begin(s)?.data().exchange()?, section),))
    })?;

    e.func_wrap(
        "set-header",
        |s: Store, (section, name, value): (Section, WasmStr, WasmStr)| -> wasmtime::Result<Changed> {
            let mut s = begin(s)?;
            let field = field(&s, &name, &value)?;
            Ok((field.and_then(|(name, value)| s.data_mut().edit_header(section, Edit::Set(name, value))),))
        },
    )?;
    e.func_wrap(
        "append-header",
        |s: Store, (section, name, value): (Section, WasmStr, WasmStr)| -> wasmtime::Result<Changed> {
            let mut s = begin(s)?;
            let field = field(&s, &name, &value)?;
            Ok((field.and_then(|(name, value)| s.data_mut().edit_header(section, Edit::Append(name, value))),))
        },
    )?;
    e.func_wrap("remove-header", |s: Store, (section, name): (Section, WasmStr)| -> wasmtime::Result<Changed> {
        let mut s = begin(s)?;
        let name = guard::writable_name(name.to_str(&s)?.as_bytes());
        Ok((name.and_then(|name| s.data_mut().edit_header(section, Edit::Remove(name))),))
    })?;

    e.func_wrap("set-headers", |s: Store, (section, block): (Section, WasmList<u8>)| -> wasmtime::Result<Changed> {
        let mut s = begin(s)?;
        let fields = guard::fields(block.as_le_slice(&s));
        Ok((fields.and_then(|fields| s.data_mut().set_headers(section, fields)),))
    })?;
    e.func_wrap(
        "append-headers",
        |s: Store, (section, block): (Section, WasmList<u8>)| -> wasmtime::Result<Changed> {
            let mut s = begin(s)?;
            let fields = guard::fields(block.as_le_slice(&s));
            Ok((fields.and_then(|fields| s.data_mut().append_headers(section, fields)),))
        },
    )?;

    e.func_wrap("set-method", |s: Store, (method,): (String,)| -> wasmtime::Result<Changed> {
        Ok((begin(s)?.data_mut().set_method(&method),))
    })?;
    e.func_wrap("set-authority", |s: Store, (authority,): (String,)| -> wasmtime::Result<Changed> {
        Ok((begin(s)?.data_mut().set_authority(&authority),))
    })?;
    e.func_wrap("set-path", |s: Store, (path,): (String,)| -> wasmtime::Result<Changed> {
        Ok((begin(s)?.data_mut().set_path(&path),))
    })?;
    e.func_wrap("set-status", |s: Store, (status,): (u16,)| -> wasmtime::Result<Changed> {
        Ok((begin(s)?.data_mut().set_status(status),))
    })?;
    e.func_wrap("set-upstream", |s: Store, (name,): (String,)| -> wasmtime::Result<Changed> {
        Ok((begin(s)?.data_mut().set_upstream(&name),))
    })?;

    e.func_wrap("attribute", |s: Store, (name,): (WasmStr,)| {
        let s = begin(s)?;
        Ok((s.data().exchange()?.attribute(&name.to_str(&s)?),))
    })?;
    e.func_wrap("set-attribute", |s: Store, (name, value): (String, String)| -> wasmtime::Result<Changed> {
        Ok((begin(s)?.data_mut().set_attribute(&name, &value),))
    })?;
    e.func_wrap("identity", |s: Store, ()| Ok((edit::identity(begin(s)?.data().exchange()?),)))?;
    e.func_wrap("set-identity", |s: Store, (caller,): (Caller,)| -> wasmtime::Result<Changed> {
        Ok((begin(s)?.data_mut().set_identity(caller),))
    })?;
    e.func_wrap("set-body-mode", |s: Store, (direction, mode): (Direction, BodyMode)| -> wasmtime::Result<Changed> {
        Ok((begin(s)?.data_mut().set_body_mode(direction, mode),))
    })?;
    e.func_wrap("hold-back", |s: Store, (tail, enough): (u64, u64)| -> wasmtime::Result<Changed> {
        Ok((begin(s)?.data_mut().hold_back(tail, enough),))
    })?;
    e.func_wrap("state", |s: Store, ()| Ok((begin(s)?.data_mut().kept_state(),)))?;
    e.func_wrap("set-state", |s: Store, (bytes,): (WasmList<u8>,)| -> wasmtime::Result<Changed> {
        let mut s = begin(s)?;
        let bytes = bytes.as_le_slice(&s).to_vec();
        Ok((s.data_mut().set_state(bytes),))
    })?;
    Ok(())
}

/// Every function about the exchange begins with this: it counts one call and checks that there is an exchange.
#[inline]
fn begin(mut store: Store<'_>) -> wasmtime::Result<Store<'_>> {
    store.data_mut().asked()?;
    Ok(store)
}

/// Reads a header field from the guest's memory and validates it.
#[inline]
fn field(
    store: &Store<'_>,
    name: &WasmStr,
    value: &WasmStr,
) -> wasmtime::Result<Result<(http::HeaderName, http::HeaderValue), bindings::MutateError>> {
    let name = match guard::writable_name(name.to_str(store)?.as_bytes()) {
        Ok(name) => name,
        Err(error) => return Ok(Err(error)),
    };
    Ok(guard::value(value.to_str(store)?.as_bytes()).map(|value| (name, value)))
}

//! The contract's records, variants and enumerations in the canonical ABI ([`super::abi`]).

use wasmtime::{Result, ValType};

use super::super::bindings::{
    BodyDecision, BodyMode, Caller, Decision, Direction, LocalResponse, MutateError, Section, clock, codec,
    concurrency, consumers, hooks, http_client, json_schema, jwt, log, password, rate_limit, seal, shared_store,
    single_flight,
};
use super::abi::{Answer, Guest, Load, Pass, Store, Value, align_to, max, no_case};
use super::outgoing::Outgoing;
use super::values::{payload, variant_size};

macro_rules! enumerations {
    ($($name:ty { $($case:ident),* $(,)? })*) => {$(
        impl Value for $name {
            const SIZE: u32 = 1;
            const ALIGN: u32 = 1;
            const FLAT: usize = 1;
        }

        impl<'a> Pass<'a> for $name {
            fn types(into: &mut Vec<ValType>) {
                into.push(ValType::I32);
            }

            #[inline]
            fn take(from: &mut Guest<'a>) -> Result<Self> {
                const CASES: &[$name] = &[$(<$name>::$case),*];
                CASES.get(from.next()? as u32 as usize).copied().ok_or_else(no_case)
            }
        }
    )*};
}

enumerations! {
    Section { RequestHeaders, RequestTrailers, ResponseHeaders, ResponseTrailers }
    Direction { Request, Response }
    BodyMode { Skip, Whole, Chunks }
    log::Level { Trace, Debug, Info, Warn, Error }
    hooks::Hook { Request, RequestBody, Response, ResponseBody, Completion }
    codec::Coding { Gzip, Brotli, Zstd }
}

macro_rules! records {
    ($($name:path, $fields:tt $($side:ident)*;)*) => {$(
        records!(value $name, $fields);
        $(records!($side $name, $fields);)*
    )*};
    (value $name:path, { $($field:ident: $type:ty),* $(,)? }) => {
        impl Value for $name {
            const SIZE: u32 = {
                let mut end = 0;
                $(end = align_to(end, <$type>::ALIGN) + <$type>::SIZE;)*
                align_to(end, Self::ALIGN)
            };
            const ALIGN: u32 = {
                let mut align = 1;
                $(align = max(align, <$type>::ALIGN);)*
                align
            };
            const FLAT: usize = 0 $(+ <$type>::FLAT)*;
        }
    };
    (load $name:path, { $($field:ident: $type:ty),* $(,)? }) => {
        impl<'a> Load<'a> for $name {
            fn load(from: &mut Guest<'a>, at: u32) -> Result<Self> {
                let mut end = at;
                $(
                    let place = align_to(end, <$type>::ALIGN);
                    end = place + <$type>::SIZE;
                    let $field = <$type>::load(from, place)?;
                )*
                let _ = end;
                Ok(Self { $($field),* })
            }
        }
    };
    (pass $name:path, { $($field:ident: $type:ty),* $(,)? }) => {
        impl<'a> Pass<'a> for $name {
            fn types(into: &mut Vec<ValType>) {
                $(<$type as Pass<'a>>::types(into);)*
            }

            fn take(from: &mut Guest<'a>) -> Result<Self> {
                Ok(Self { $($field: <$type>::take(from)?),* })
            }
        }
    };
    (store $name:path, { $($field:ident: $type:ty),* $(,)? }) => {
        impl Store for $name {
            fn store(self, into: &mut Outgoing, at: u32) -> Result<()> {
                let mut end = at;
                $(
                    let place = align_to(end, <$type>::ALIGN);
                    end = place + <$type>::SIZE;
                    self.$field.store(into, place)?;
                )*
                let _ = end;
                Ok(())
            }
        }

        impl Answer for $name {}
    };
}

records! {
    Caller, { subject: String, claims: String } pass store;
    LocalResponse, { status: u16, headers: Vec<(String, String)>, body: Vec<u8> } load;
    clock::Timestamp, { seconds: u64, nanoseconds: u32 } store;
    shared_store::Entry, { value: Vec<u8>, version: u64 } store;
    rate_limit::Quota, { requests: u32, per_ms: u32, burst: u32 } load pass;
    rate_limit::Window, { requests: u32, length_ms: u32, anchor_ms: u64 } load;
    rate_limit::Outcome, { allowed: bool, remaining: u32, reset_ms: u32, retry_after_ms: u32 } store;
    concurrency::Outcome, { allowed: bool, taken: u32 } store;
    codec::Bounds, { bytes: u64, ratio: u32 } pass;
    consumers::Credential, { consumer: String, claims: String, definition: String } store;
    consumers::Limit, { consumer: String, definition: String } store;
    http_client::Request, {
        upstream: String,
        method: String,
        path: String,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        timeout_ms: u32,
    } load pass;
    http_client::Response, { status: u16, headers: Vec<(String, Vec<u8>)>, body: Vec<u8> } store;
    json_schema::Violation, { pointer: String, message: String } store;
}

macro_rules! variants {
    ($($name:path { $($number:literal $case:ident $(($value:ident: $type:ty))?),* $(,)? } $side:ident;)*) => {$(
        impl Value for $name {
            const SIZE: u32 = {
                let largest = 0;
                $($(let largest = max(largest, <$type>::SIZE);)?)*
                variant_size(largest, Self::ALIGN)
            };
            const ALIGN: u32 = {
                let align = 1;
                $($(let align = max(align, <$type>::ALIGN);)?)*
                align
            };
            const FLAT: usize = {
                let most = 0;
                $($(let most = if <$type>::FLAT > most { <$type>::FLAT } else { most };)?)*
                1 + most
            };
        }

        variants!($side $name { $($number $case $(($value: $type))?),* });
    )*};
    (load $name:path { $($number:literal $case:ident $(($value:ident: $type:ty))?),* }) => {
        impl<'a> Load<'a> for $name {
            fn load(from: &mut Guest<'a>, at: u32) -> Result<Self> {
                match u8::load(from, at)? {
                    $($number => Ok(Self::$case $((<$type>::load(from, at + payload(Self::ALIGN))?))?),)*
                    _ => Err(no_case()),
                }
            }
        }
    };
    (store $name:path { $($number:literal $case:ident $(($value:ident: $type:ty))?),* }) => {
        impl Store for $name {
            fn store(self, into: &mut Outgoing, at: u32) -> Result<()> {
                match self {
                    $(Self::$case $(($value))? => {
                        into.write(at, &[$number])?;
                        $($value.store(into, at + payload(Self::ALIGN))?;)?
                    })*
                }
                Ok(())
            }
        }
    };
}

variants! {
    Decision { 0 Proceed, 1 Respond(response: LocalResponse), 2 Abort } load;
    BodyDecision { 0 Pass, 1 Hold, 2 Replace(bytes: Vec<u8>), 3 Respond(response: LocalResponse), 4 Abort } load;
    hooks::HeaderChange { 0 Set(field: (String, String)), 1 Append(field: (String, String)), 2 Remove(name: String) } load;
    rate_limit::Rule {
        0 TokenBucket(quota: rate_limit::Quota),
        1 FixedWindow(window: rate_limit::Window),
        2 SlidingWindow(window: rate_limit::Window),
    } load;
    MutateError {
        0 InvalidSyntax,
        1 Forbidden,
        2 LimitExceeded,
        3 WrongPhase,
        4 NotGranted,
        5 Other(text: String),
    } store;
    http_client::CallError {
        0 UnknownUpstream,
        1 TimedOut,
        2 ConnectionFailed(text: String),
        3 ResponseTooLarge,
        4 LimitExceeded,
        5 Other(text: String),
    } store;
    shared_store::StoreError { 0 LimitExceeded, 1 NotANumber, 2 Other(text: String) } store;
    shared_store::SwapError { 0 Conflict(entry: Option<shared_store::Entry>), 1 Store(error: shared_store::StoreError) } store;
    rate_limit::LimitError { 0 LimitExceeded, 1 Unavailable, 2 Other(text: String) } store;
    jwt::VerifyError {
        0 Malformed,
        1 UnknownKey,
        2 BadSignature,
        3 Expired,
        4 NotYetValid,
        5 WrongIssuer,
        6 WrongAudience,
        7 AlgorithmNotAllowed,
        8 KeysUnavailable,
        9 Other(text: String),
    } store;
    json_schema::CheckError { 0 NotJson(text: String), 1 UnknownSchema } store;
    password::VerifyError { 0 Unsupported(text: String), 1 Busy } store;
    single_flight::Turn { 0 Mine, 1 Done(bytes: Vec<u8>), 2 TimedOut } store;
    seal::SealError { 0 UnknownKey, 1 WeakKey, 2 TooLarge, 3 Other(text: String) } store;
}

impl Answer for single_flight::Turn {}

//! What the plugins that translate between gRPC and REST have in common: the services and the rules of
//! `google.api.http` ([`Schema`], [`Router`]), messages as JSON ([`json`]), gRPC's frames ([`frame`]) and its statuses
//! ([`Status`]).
//!
//! Nothing here uses an exchange; the plugins read and write it, and call functions here.

mod binding;
mod content;
pub mod deadline;
pub mod frame;
pub mod json;
mod query;
mod refusal;
mod router;
mod scalar;
mod schema;
mod sequence;
mod status;
mod template;

pub use binding::{Binding, BodyOf, Parts};
pub use content::{is_coded, is_grpc};
pub use prost_reflect::{self, DynamicMessage, prost::Message};
pub use query::{Query, decoded};
pub use refusal::Refusal;
pub use router::{Found, Router};
pub use schema::{Method, Schema, Sources};
pub use sequence::Sequence;
pub use status::{Code, Status};
pub use template::{Segment, Template, Verbs};

//! The scripts that decide, and the arguments of one call.

use std::sync::LazyLock;

use redis::Script;

pub(super) static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("take.lua")));
pub(super) static WRITE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("write.lua")));
pub(super) static ENTER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("enter.lua")));

//! How a hook of a guest that runs directly is called: its parameters are passed, its answer is read.

use wasmtime::{Error, Memory, Result, Store, TypedFunc, WasmParams, WasmResults};

use super::super::bindings::{BodyDecision, Decision};
use super::super::state::{Call, State};
use super::abi::{Guest, Realloc, length, out_of_bounds};

/// A function that a plugin exports.
pub struct Hook<P: Parameters, R: Returned> {
    pub function: TypedFunc<P::Core, R::Core>,
    /// Cleans up after the answer has been read.
    pub post_return: Option<TypedFunc<R::Core, ()>>,
    /// Whether the function is the [adapter](super::adapter)'s, which has had the answer read when it returns.
    pub is_adapted: bool,
    /// The number of the allocator for the parameters.
    pub realloc: Option<usize>,
}

impl<P: Parameters, R: Returned> Hook<P, R> {
    /// Calls the function of a plugin that never waits.
    ///
    /// # Errors
    /// It trapped or hit a limit; the store must not be used again.
    pub fn call(&self, store: &mut Store<State>, parameters: P) -> Result<R> {
        let memory = store.data().boundary.memory()?;
        let mut lent = (0, 0);
        if let Some(bytes) = parameters.bytes() {
            let (realloc, size) = (self.take_realloc(store)?, length(bytes.len())?);
            let address = realloc.call(&mut *store, (0, 0, 1, size))?;
            self.put_back(store, realloc);
            lent = lend(memory, store, bytes, address)?;
        }
        let answer = self.function.call(&mut *store, parameters.core(lent))?;
        let most = store.data().lent.limits.boundary_bytes;
        let returned = R::lift(answer, &mut Guest::new(memory.data(&*store), &[], most))?;
        if let Some(post_return) = &self.post_return {
            store.data_mut().boundary.close();
            post_return.call(&mut *store, answer)?;
            store.data_mut().boundary.open();
        }
        Ok(returned)
    }

    /// The same for a plugin that may wait, on fibers.
    ///
    /// # Errors
    /// As for [`Hook::call`].
    pub async fn call_async(&self, store: &mut Store<State>, parameters: P) -> Result<R> {
        let memory = store.data().boundary.memory()?;
        let mut lent = (0, 0);
        if let Some(bytes) = parameters.bytes() {
            let (realloc, size) = (self.take_realloc(store)?, length(bytes.len())?);
            let address = realloc.call_async(&mut *store, (0, 0, 1, size)).await?;
            self.put_back(store, realloc);
            lent = lend(memory, store, bytes, address)?;
        }
        let answer = self.function.call_async(&mut *store, parameters.core(lent)).await?;
        if self.is_adapted {
            let boundary = &mut store.data_mut().boundary;
            boundary.open();
            return boundary.returned.take().and_then(R::of).ok_or_else(|| Error::msg("the hook gave no answer"));
        }
        let most = store.data().lent.limits.boundary_bytes;
        let returned = R::lift(answer, &mut Guest::new(memory.data(&*store), &[], most))?;
        if let Some(post_return) = &self.post_return {
            store.data_mut().boundary.close();
            post_return.call_async(&mut *store, answer).await?;
            store.data_mut().boundary.open();
        }
        Ok(returned)
    }

    fn take_realloc(&self, store: &mut Store<State>) -> Result<Realloc> {
        let boundary = &mut store.data_mut().boundary;
        boundary.close();
        boundary.take_realloc(self.realloc)
    }

    fn put_back(&self, store: &mut Store<State>, realloc: Realloc) {
        let boundary = &mut store.data_mut().boundary;
        boundary.open();
        boundary.put_back(self.realloc, realloc);
    }
}

/// Copies a parameter to memory that the guest has allocated, and returns its address and length.
fn lend(memory: Memory, store: &mut Store<State>, bytes: &[u8], address: u32) -> Result<(u32, u32)> {
    memory.write(&mut *store, address as usize, bytes).map_err(|_| out_of_bounds())?;
    Ok((address, length(bytes.len())?))
}

/// The parameters of a hook: at most one of them is in memory, and that is the first.
pub trait Parameters {
    type Core: WasmParams + Sync;

    /// What is to be lent to the guest.
    fn bytes(&self) -> Option<&[u8]> {
        None
    }

    /// The core values, given the address and the length of what was lent.
    fn core(&self, lent: (u32, u32)) -> Self::Core;
}

impl Parameters for () {
    type Core = ();

    fn core(&self, _: (u32, u32)) {}
}

impl Parameters for (bool,) {
    type Core = u32;

    fn core(&self, _: (u32, u32)) -> u32 {
        self.0.into()
    }
}

impl Parameters for (String,) {
    type Core = (u32, u32);

    fn bytes(&self) -> Option<&[u8]> {
        Some(self.0.as_bytes())
    }

    fn core(&self, lent: (u32, u32)) -> (u32, u32) {
        lent
    }
}

impl Parameters for (Vec<u8>, bool) {
    type Core = (u32, u32, u32);

    fn bytes(&self) -> Option<&[u8]> {
        Some(&self.0)
    }

    fn core(&self, (at, length): (u32, u32)) -> (u32, u32, u32) {
        (at, length, self.1.into())
    }
}

/// The answer of a hook: nothing, or a value in memory.
pub trait Returned: Sized {
    type Core: WasmParams + WasmResults + Copy + Sync;

    fn lift(core: Self::Core, from: &mut Guest<'_>) -> Result<Self>;

    /// Takes an answer that was read already.
    fn of(answered: Answered) -> Option<Self>;
}

impl Returned for () {
    type Core = ();

    fn lift((): (), _: &mut Guest<'_>) -> Result<()> {
        Ok(())
    }

    fn of(_: Answered) -> Option<()> {
        None
    }
}

/// The answer of any hook, in memory.
pub enum Answered {
    Configured(std::result::Result<(), String>),
    Head(Decision),
    Body(BodyDecision),
    Pause(Option<u32>),
}

impl Answered {
    /// Reads the answer to this call.
    pub fn read(call: Call, from: &mut Guest<'_>, at: u32) -> Result<Answered> {
        match call {
            Call::Configure => from.value(at).map(Answered::Configured),
            Call::Request | Call::Response => from.value(at).map(Answered::Head),
            Call::RequestBody | Call::ResponseBody => from.value(at).map(Answered::Body),
            Call::Tick => from.value(at).map(Answered::Pause),
            Call::Describe | Call::Complete | Call::Idle => Err(Error::msg("the hook answers nothing")),
        }
    }
}

macro_rules! answers {
    ($($case:ident($answer:ty);)*) => {$(
        impl Returned for ($answer,) {
            type Core = u32;

            fn lift(at: u32, from: &mut Guest<'_>) -> Result<Self> {
                Ok((from.value(at)?,))
            }

            fn of(answered: Answered) -> Option<Self> {
                match answered {
                    Answered::$case(answer) => Some((answer,)),
                    _ => None,
                }
            }
        }
    )*};
}

answers! {
    Configured(std::result::Result<(), String>);
    Head(Decision);
    Body(BodyDecision);
    Pause(Option<u32>);
}

//! How a hook of a guest that runs directly is called: its parameters are passed, its answer is read.

use wasmtime::{AsContextMut, Result, Store, TypedFunc, WasmParams, WasmResults};

use super::super::state::State;
use super::abi::{Guest, Lender, Load};

/// A function that a plugin exports.
pub struct Hook<P: Parameters, R: Returned> {
    pub function: TypedFunc<P::Core, R::Core>,
    /// Cleans up after the answer has been read.
    pub post_return: Option<TypedFunc<R::Core, ()>>,
    /// The number of the allocator for the parameters.
    pub realloc: Option<usize>,
}

impl<P: Parameters, R: Returned> Hook<P, R> {
    /// Calls the function.
    ///
    /// # Errors
    /// It trapped or hit a limit; the store must not be used again.
    pub fn call(&self, store: &mut Store<State>, parameters: P) -> Result<R> {
        let memory = store.data().boundary.memory()?;
        let realloc = store.data_mut().boundary.take_realloc(self.realloc);
        let mut lender = Lender { store: store.as_context_mut(), memory: Some(memory), realloc };
        let passed = parameters.lower(&mut lender)?;
        let realloc = lender.realloc;
        store.data_mut().boundary.put_back(self.realloc, realloc);
        let answer = self.function.call(&mut *store, passed)?;
        let most = store.data().lent.limits.boundary_bytes;
        let returned = R::lift(answer, &mut Guest::new(memory.data(&*store), &[], most))?;
        if let Some(post_return) = &self.post_return {
            store.data_mut().boundary.close();
            post_return.call(&mut *store, answer)?;
            store.data_mut().boundary.open();
        }
        Ok(returned)
    }
}

/// The parameters of a hook.
pub trait Parameters {
    type Core: WasmParams;

    fn lower(self, into: &mut Lender<'_>) -> Result<Self::Core>;
}

impl Parameters for () {
    type Core = ();

    fn lower(self, _: &mut Lender<'_>) -> Result<()> {
        Ok(())
    }
}

impl Parameters for (bool,) {
    type Core = u32;

    fn lower(self, _: &mut Lender<'_>) -> Result<u32> {
        Ok(self.0.into())
    }
}

impl Parameters for (String,) {
    type Core = (u32, u32);

    fn lower(self, into: &mut Lender<'_>) -> Result<(u32, u32)> {
        into.copy(self.0.as_bytes())
    }
}

impl Parameters for (Vec<u8>, bool) {
    type Core = (u32, u32, u32);

    fn lower(self, into: &mut Lender<'_>) -> Result<(u32, u32, u32)> {
        let (at, length) = into.copy(&self.0)?;
        Ok((at, length, self.1.into()))
    }
}

/// The answer of a hook: nothing, or a value in memory.
pub trait Returned: Sized {
    type Core: WasmParams + WasmResults + Copy;

    fn lift(core: Self::Core, from: &mut Guest<'_>) -> Result<Self>;
}

impl Returned for () {
    type Core = ();

    fn lift((): (), _: &mut Guest<'_>) -> Result<()> {
        Ok(())
    }
}

impl<T: for<'a> Load<'a>> Returned for (T,) {
    type Core = u32;

    fn lift(at: u32, from: &mut Guest<'_>) -> Result<(T,)> {
        Ok((from.value(at)?,))
    }
}

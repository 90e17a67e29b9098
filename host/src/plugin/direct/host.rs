//! How a host function is called by a guest that runs directly: what was passed is read, what is answered is written.

use std::mem::MaybeUninit;

use wasmtime::{AsContextMut, Caller, Error, FuncType, Linker, Memory, Result, ValRaw, ValType};

use super::super::state::State;
use super::abi::{Answer, Guest, Lender, Realloc, within};

/// A guest's side of the boundary, in the data of its store.
#[derive(Default)]
pub struct Boundary {
    /// `None` until the module that defines it is instantiated: a start function may run before that.
    memory: Option<Memory>,
    /// The allocators of lowered functions, by number; each is taken out while it is in use.
    reallocs: Vec<Option<Realloc>>,
    /// Set while the guest's allocator or post-return function runs: it may not call the host.
    is_closed: bool,
}

impl Boundary {
    pub fn set_memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }

    /// # Errors
    /// The modules are not instantiated yet.
    pub fn memory(&self) -> Result<Memory> {
        self.memory.ok_or_else(|| Error::msg("the plugin has no memory yet"))
    }

    /// Sets the allocator with this number.
    pub fn set_realloc(&mut self, number: usize, realloc: Realloc) {
        if self.reallocs.len() <= number {
            self.reallocs.resize_with(number + 1, || None);
        }
        self.put_back(Some(number), Some(realloc));
    }

    /// Takes the allocator with this number, until it is [put back](Boundary::put_back).
    pub fn take_realloc(&mut self, number: Option<usize>) -> Option<Realloc> {
        self.reallocs.get_mut(number?)?.take()
    }

    pub fn put_back(&mut self, number: Option<usize>, realloc: Option<Realloc>) {
        if let Some(place) = number.and_then(|number| self.reallocs.get_mut(number)) {
            *place = realloc;
        }
    }

    pub fn close(&mut self) {
        self.is_closed = true;
    }

    pub fn open(&mut self) {
        self.is_closed = false;
    }
}

/// Where a host function is to be defined.
pub struct Definition<'a> {
    pub linker: &'a mut Linker<State>,
    /// The core module's names for it.
    pub module: &'a str,
    pub name: &'a str,
    /// The number of the allocator for the answer.
    pub realloc: Option<usize>,
}

impl Definition<'_> {
    /// Defines the function: `types` are the core types of its parameters, which `body` takes in that order.
    pub fn function<R: Answer>(
        self,
        types: Vec<ValType>,
        body: impl Fn(&mut State, &mut Guest<'_>) -> Result<R> + Send + Sync + 'static,
    ) -> Result<()> {
        let count = types.len();
        if count > MOST_PASSED || (R::FLAT == 1) != R::core_type().is_some() {
            return Err(Error::msg("a function of the host is not as the canonical ABI passes it"));
        }
        let (has_i64, has_f64) = (mask(&types, |core| core.is_i64()), mask(&types, |core| core.is_f64()));
        let is_in_memory = R::FLAT > 1;
        let mut parameters = types;
        if is_in_memory {
            parameters.push(ValType::I32);
        }
        let result = R::core_type();
        let core = FuncType::new(self.linker.engine(), parameters, result.clone());
        let realloc = self.realloc;
        let call = move |mut caller: Caller<'_, State>, space: &mut [MaybeUninit<ValRaw>]| {
            let mut passed = [0; MOST_PASSED + 1];
            let passed = &mut passed[..count + usize::from(is_in_memory)];
            for (index, (bits, raw)) in passed.iter_mut().zip(&*space).enumerate() {
                // SAFETY: the function is of type `core`, which has as many parameters as `passed` has elements, and
                // wasmtime has set each to a value of its type.
                #[allow(unsafe_code)]
                let raw = unsafe { raw.assume_init_ref() };
                *bits = match 1_u32 << index {
                    bit if has_i64 & bit != 0 => raw.get_u64(),
                    bit if has_f64 & bit != 0 => raw.get_f64(),
                    _ => raw.get_u32().into(),
                };
            }
            let answer = answer(&mut caller, passed, is_in_memory, realloc, &body)?;
            if let (Some(result), Some(place)) = (&result, space.first_mut()) {
                place.write(if result.is_i64() { ValRaw::u64(answer) } else { ValRaw::u32(answer as u32) });
            }
            Ok(())
        };
        // SAFETY: `call` reads the parameters of `core` by their types, as shown there, and writes its result by its
        // type: the `core_type` of an answer is I32 or I64.
        #[allow(unsafe_code)]
        unsafe {
            self.linker.func_new_unchecked(self.module, self.name, core, call)?;
        }
        Ok(())
    }
}

/// Defines a function by its parameters, which are taken in order, and its body.
macro_rules! function {
    ($into:expr, |$state:ident $(, $parameter:ident: $type:ty)*| $body:expr) => {{
        #[allow(unused_mut)] // of those that take nothing
        let mut types = Vec::new();
        $(<$type as $crate::plugin::direct::abi::Pass<'_>>::types(&mut types);)*
        $into.function(types, |$state: &mut State, guest: &mut $crate::plugin::direct::abi::Guest<'_>| {
            let _ = &guest;
            $(let $parameter = <$type as $crate::plugin::direct::abi::Pass<'_>>::take(guest)?;)*
            $body
        })
    }};
}
pub(super) use function;

/// Runs a function and returns the bits of its one core value, if it has one.
#[inline]
fn answer<R: Answer>(
    caller: &mut Caller<'_, State>,
    passed: &[u64],
    is_in_memory: bool,
    realloc: Option<usize>,
    body: impl Fn(&mut State, &mut Guest<'_>) -> Result<R>,
) -> Result<u64> {
    let boundary = &caller.data().boundary;
    if boundary.is_closed {
        return Err(Error::msg("the plugin called the host from its allocator, or while it cleaned up"));
    }
    let memory = boundary.memory;
    let (bytes, state) = match memory {
        Some(memory) => memory.data_and_store_mut(&mut *caller),
        None => (Default::default(), caller.data_mut()),
    };
    let (size, most) = (bytes.len(), state.lent.limits.boundary_bytes);
    let answer = body(state, &mut Guest::new(bytes, passed, most))?;
    let at = match passed.last() {
        Some(at) if is_in_memory => *at as u32,
        _ => 0,
    };
    if is_in_memory {
        within(size, at, R::SIZE.into(), R::ALIGN)?;
    }
    let taken = state.boundary.take_realloc(realloc);
    let mut lender = Lender { store: caller.as_context_mut(), memory, realloc: taken };
    let bits = answer.give(&mut lender, at)?;
    let taken = lender.realloc;
    caller.data_mut().boundary.put_back(realloc, taken);
    Ok(bits)
}

fn mask(types: &[ValType], is: impl Fn(&ValType) -> bool) -> u32 {
    types.iter().enumerate().filter(|(_, core)| is(core)).fold(0, |mask, (index, _)| mask | 1 << index)
}

/// The canonical ABI passes more values than this through memory (`MAX_FLAT_PARAMS`); no function of the contract takes
/// as many.
const MOST_PASSED: usize = 16;

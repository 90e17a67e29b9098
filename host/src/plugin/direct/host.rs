//! How a host function is called by a guest that runs directly: what was passed is read, what is answered is written.

use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::Pin;

use wasmtime::{AsContextMut, Caller, Error, FuncType, Linker, Memory, Result, Val, ValRaw, ValType};

use super::super::state::State;
use super::abi::{Answer, Guest, Realloc};
use super::hook::Answered;
use super::outgoing::Outgoing;

/// A guest's side of the boundary, in the data of its store.
#[derive(Default)]
pub struct Boundary {
    /// `None` until the module that defines it is instantiated: a start function may run before that.
    memory: Option<Memory>,
    /// The allocators, by number; each is taken out while it is in use.
    reallocs: Vec<Option<Realloc>>,
    /// The answer that is being passed.
    outgoing: Outgoing,
    /// The hook's answer, read before the guest cleaned up after it.
    pub returned: Option<Answered>,
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
        self.put_back(Some(number), realloc);
    }

    /// Takes the allocator with this number, until it is [put back](Boundary::put_back).
    ///
    /// # Errors
    /// There is none, or its module is not instantiated yet.
    pub fn take_realloc(&mut self, number: Option<usize>) -> Result<Realloc> {
        let realloc = number.and_then(|number| self.reallocs.get_mut(number)?.take());
        realloc.ok_or_else(|| Error::msg("the plugin has no allocator for what it is given"))
    }

    pub fn put_back(&mut self, number: Option<usize>, realloc: Realloc) {
        if let Some(place) = number.and_then(|number| self.reallocs.get_mut(number)) {
            *place = Some(realloc);
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
    pub delivery: Delivery,
}

/// Who calls the guest's allocator for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The host calls the one with this number, if the function has one.
    Host(Option<usize>),
    /// The [adapter](super::adapter), which the function tells what to allocate.
    Adapter,
}

/// A function that waits, on a fiber.
pub type Waiting<'a, R> = Pin<Box<dyn Future<Output = Result<R>> + Send + 'a>>;

impl Definition<'_> {
    /// Defines the function: `types` are the core types of its parameters, which `body` takes in that order.
    pub fn function<R: Answer>(
        self,
        types: Vec<ValType>,
        body: impl Fn(&mut State, &mut Guest<'_>) -> Result<R> + Send + Sync + 'static,
    ) -> Result<()> {
        let delivery = self.delivery;
        let Shape { parameters, result } = Shape::of::<R>(types, delivery)?;
        let (has_i64, has_f64) = (mask(&parameters, ValType::is_i64), mask(&parameters, ValType::is_f64));
        let count = parameters.len();
        let core = FuncType::new(self.linker.engine(), parameters, result.clone());
        let call = move |mut caller: Caller<'_, State>, space: &mut [MaybeUninit<ValRaw>]| {
            let mut passed = [0; MOST_PASSED + 1];
            let passed = &mut passed[..count];
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
            let answer = ask(&mut caller, passed, &body)?;
            let bits = give(&mut caller, answer, passed, delivery)?;
            if let (Some(result), Some(place)) = (&result, space.first_mut()) {
                place.write(if result.is_i64() { ValRaw::u64(bits) } else { ValRaw::u32(bits as u32) });
            }
            Ok(())
        };
        // SAFETY: `call` reads the parameters of `core` by their types, as shown there, and writes its result by its
        // type: that is I32 or I64, by `Shape::of`.
        #[allow(unsafe_code)]
        unsafe {
            self.linker.func_new_unchecked(self.module, self.name, core, call)?;
        }
        Ok(())
    }

    /// Defines a function that may wait: `take` takes its parameters, and `body` works with them.
    pub fn waiting<P: Send + 'static, R: Answer + Send + 'static>(
        self,
        types: Vec<ValType>,
        take: impl Fn(&mut Guest<'_>) -> Result<P> + Copy + Send + Sync + 'static,
        body: impl for<'a> Fn(&'a mut State, P) -> Waiting<'a, R> + Copy + Send + Sync + 'static,
    ) -> Result<()> {
        let delivery = self.delivery;
        let Shape { parameters, result } = Shape::of::<R>(types, delivery)?;
        let is_i64 = result.as_ref().is_some_and(ValType::is_i64);
        let core = FuncType::new(self.linker.engine(), parameters, result);
        self.linker.func_new_async(self.module, self.name, core, move |mut caller, parameters, results| {
            Box::new(async move {
                let mut passed = [0; MOST_PASSED + 1];
                let passed = &mut passed[..parameters.len()];
                for (bits, value) in passed.iter_mut().zip(parameters) {
                    *bits = match value {
                        Val::I32(number) => u64::from(*number as u32),
                        Val::I64(number) => *number as u64,
                        _ => return Err(not_as_passed()),
                    };
                }
                let parameters = ask(&mut caller, passed, |_, guest| take(guest))?;
                let answer = body(caller.data_mut(), parameters).await?;
                let bits = give(&mut caller, answer, passed, delivery)?;
                if let Some(place) = results.first_mut() {
                    *place = if is_i64 { Val::I64(bits as i64) } else { Val::I32(bits as i32) };
                }
                Ok(())
            })
        })?;
        Ok(())
    }

    /// Defines what the adapter calls with the address of memory that the guest has allocated.
    pub fn place(self) -> Result<()> {
        self.linker.func_wrap(
            self.module,
            self.name,
            |mut caller: Caller<'_, State>, address: u32| -> Result<u64> {
                caller.data_mut().boundary.outgoing.place(address)?;
                proceed(&mut caller)
            },
        )?;
        Ok(())
    }

    /// Defines what the adapter calls with the place of a hook's answer, after which the guest may clean up.
    pub fn returned(self) -> Result<()> {
        self.linker.func_wrap(self.module, self.name, |mut caller: Caller<'_, State>, at: u32| -> Result<()> {
            let answered = ask(&mut caller, &[], |state, guest| Answered::read(state.call, guest, at))?;
            let boundary = &mut caller.data_mut().boundary;
            boundary.returned = Some(answered);
            boundary.close();
            Ok(())
        })?;
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

/// The core type of a function.
struct Shape {
    /// The last one is the address of the answer, if that is in memory.
    parameters: Vec<ValType>,
    result: Option<ValType>,
}

impl Shape {
    fn of<R: Answer>(mut parameters: Vec<ValType>, delivery: Delivery) -> Result<Shape> {
        let result = match delivery {
            Delivery::Host(_) => R::core_type(),
            Delivery::Adapter => Some(ValType::I64),
        };
        let is_one = R::core_type().is_some();
        if parameters.len() > MOST_PASSED || (R::FLAT == 1) != is_one || (is_one && delivery == Delivery::Adapter) {
            return Err(not_as_passed());
        }
        if R::FLAT > 1 {
            parameters.push(ValType::I32);
        }
        Ok(Shape { parameters, result })
    }
}

/// Reads what a guest has passed.
#[inline]
fn ask<T>(
    caller: &mut Caller<'_, State>,
    passed: &[u64],
    body: impl Fn(&mut State, &mut Guest<'_>) -> Result<T>,
) -> Result<T> {
    let boundary = &caller.data().boundary;
    if boundary.is_closed {
        return Err(Error::msg("the plugin called the host from its allocator, or while it cleaned up"));
    }
    let (bytes, state) = match boundary.memory {
        Some(memory) => memory.data_and_store_mut(caller),
        None => (Default::default(), caller.data_mut()),
    };
    let most = state.lent.limits.boundary_bytes;
    body(state, &mut Guest::new(bytes, passed, most))
}

/// Passes an answer, and returns the bits of the core result, if there is one.
#[inline]
fn give<R: Answer>(caller: &mut Caller<'_, State>, answer: R, passed: &[u64], delivery: Delivery) -> Result<u64> {
    let address = match passed.last() {
        Some(address) if R::FLAT > 1 => *address as u32,
        _ if delivery == Delivery::Adapter => return Ok(NOTHING),
        _ => return Ok(answer.bits()),
    };
    let boundary = &mut caller.data_mut().boundary;
    boundary.outgoing.start(R::SIZE, R::ALIGN, address)?;
    answer.store(&mut boundary.outgoing, 0)?;
    match delivery {
        Delivery::Adapter => return proceed(caller),
        Delivery::Host(number) if boundary.outgoing.wanted().is_some() => allocate(caller, number)?,
        Delivery::Host(_) => {}
    }
    deliver(caller).map(|()| 0)
}

/// Has the guest allocate memory for all parts of an answer.
fn allocate(caller: &mut Caller<'_, State>, number: Option<usize>) -> Result<()> {
    let realloc = caller.data_mut().boundary.take_realloc(number)?;
    while let Some(wanted) = caller.data().boundary.outgoing.wanted() {
        caller.data_mut().boundary.close();
        let address = realloc.call(caller.as_context_mut(), (0, 0, wanted.align, wanted.size))?;
        let boundary = &mut caller.data_mut().boundary;
        boundary.open();
        boundary.outgoing.place(address)?;
    }
    caller.data_mut().boundary.put_back(number, realloc);
    Ok(())
}

/// Tells the adapter what the guest has to allocate next: the size, and above it the alignment. Delivers the answer if
/// that is [`NOTHING`].
fn proceed(caller: &mut Caller<'_, State>) -> Result<u64> {
    let boundary = &mut caller.data_mut().boundary;
    match boundary.outgoing.wanted() {
        Some(wanted) => {
            boundary.close();
            Ok(u64::from(wanted.align) << 32 | u64::from(wanted.size))
        }
        None => {
            boundary.open();
            deliver(caller).map(|()| NOTHING)
        }
    }
}

fn deliver(caller: &mut Caller<'_, State>) -> Result<()> {
    let memory = caller.data().boundary.memory()?;
    let (bytes, state) = memory.data_and_store_mut(caller);
    state.boundary.outgoing.deliver(bytes)
}

fn mask(types: &[ValType], is: impl Fn(&ValType) -> bool) -> u32 {
    types.iter().enumerate().filter(|(_, core)| is(core)).fold(0, |mask, (index, _)| mask | 1 << index)
}

fn not_as_passed() -> Error {
    Error::msg("a function of the host is not as the canonical ABI passes it")
}

/// Nothing has to be allocated any more.
pub const NOTHING: u64 = u64::MAX;

/// The canonical ABI passes more values than this through memory (`MAX_FLAT_PARAMS`); no function of the contract takes
/// as many.
const MOST_PASSED: usize = 16;

//! `single-flight`: hooks of a plugin take turns, one at a time per key.

use wasmtime::{Error, Result};

use super::bindings::single_flight;
use super::state::{Call, State};
use crate::capability::turns::Taken;

impl single_flight::Host for State {
    async fn take(&mut self, key: String, wait_ms: u32) -> Result<single_flight::Turn> {
        self.charge()?;
        if matches!(self.call, Call::Describe | Call::Configure) {
            return Err(Error::msg("single-flight.take was called outside of a hook"));
        }
        if self.turns.iter().any(|turn| turn.key() == key) {
            return Err(Error::msg("the hook waits for a turn that it has itself"));
        }
        self.charge_wait("the hook took more turns than limits.callouts allows")?;
        let (turns, wait) = (self.lent.abilities.turns.clone(), self.lent.limits.wait(wait_ms));
        let taken = turns.take(&key, wait).await;
        self.has_waited();
        Ok(match taken {
            Taken::Own(turn) => {
                self.turns.push(turn);
                single_flight::Turn::Mine
            }
            Taken::Done(answer) => single_flight::Turn::Done(answer.to_vec()),
            Taken::TimedOut => single_flight::Turn::TimedOut,
        })
    }

    async fn done(&mut self, key: String, answer: Vec<u8>) -> Result<()> {
        self.charge()?;
        match self.turns.iter().position(|turn| turn.key() == key) {
            Some(at) => self.turns.swap_remove(at).done(answer.into()),
            None => return Err(Error::msg("single-flight.done was called without a turn under the key")),
        }
        Ok(())
    }
}

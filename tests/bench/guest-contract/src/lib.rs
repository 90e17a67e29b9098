//! The guest of `benches/contract.rs`. It does the same small piece of work, to find one or three request headers, through
//! each shape that the contract could have had, with the bindings a plugin author would really use.

wit_bindgen::generate!({ world: "contract", path: "wit" });

use gatewright::contract_bench::exchange;
use gatewright::contract_bench::types::Section::RequestHeaders;

struct Bench;
export!(Bench);

impl Guest for Bench {
    fn no_op(_end_of_stream: bool) -> Decision {
        Decision::Proceed
    }

    fn one_getter(_end_of_stream: bool) -> Decision {
        found(exchange::header(RequestHeaders, WANTED[0]).is_some())
    }

    fn three_getters(_end_of_stream: bool) -> Decision {
        found(WANTED.iter().all(|name| exchange::header(RequestHeaders, name).is_some()))
    }

    fn three_selected(_end_of_stream: bool) -> Decision {
        let names = WANTED.map(String::from);
        found(exchange::select_headers(RequestHeaders, &names).iter().all(Option::is_some))
    }

    fn three_in_list(_end_of_stream: bool) -> Decision {
        find_in_list(&exchange::headers(RequestHeaders))
    }

    fn one_in_block(_end_of_stream: bool) -> Decision {
        let block = exchange::encoded_headers(RequestHeaders);
        found(Fields(&block).any(|(name, _)| name == WANTED[0].as_bytes()))
    }

    fn three_in_block(_end_of_stream: bool) -> Decision {
        find_in_block(&exchange::encoded_headers(RequestHeaders))
    }

    fn three_in_list_argument(headers: Vec<(String, Vec<u8>)>, _end_of_stream: bool) -> Decision {
        find_in_list(&headers)
    }

    fn three_in_block_argument(block: Vec<u8>, _end_of_stream: bool) -> Decision {
        find_in_block(&block)
    }

    fn no_op_block_argument(_block: Vec<u8>, _end_of_stream: bool) -> Decision {
        Decision::Proceed
    }

    fn set_two(_end_of_stream: bool) -> Decision {
        let user = exchange::set_header(RequestHeaders, "x-user", "alice@example.com");
        let plan = exchange::set_header(RequestHeaders, "x-plan", "gold");
        found(user.is_ok() && plan.is_ok())
    }
}

fn find_in_list(headers: &[(String, Vec<u8>)]) -> Decision {
    found(WANTED.iter().all(|wanted| headers.iter().any(|(name, _)| name == wanted)))
}

/// One pass over the block for all wanted names, as a sensible SDK would do it.
fn find_in_block(block: &[u8]) -> Decision {
    let mut values = [None; WANTED.len()];
    for (name, value) in Fields(block) {
        if let Some(slot) = WANTED.iter().position(|wanted| wanted.as_bytes() == name) {
            values[slot].get_or_insert(value);
        }
    }
    found(values.iter().all(Option::is_some))
}

fn found(all: bool) -> Decision {
    if all { Decision::Proceed } else { Decision::Abort }
}

/// The fields of an encoded block, borrowed from it.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_length, rest) = self.0.split_first_chunk::<2>()?;
        let (value_length, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*name_length)))?;
        let (value, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*value_length)).ok()?)?;
        self.0 = rest;
        Some((name, value))
    }
}

const WANTED: [&str; 3] = ["x-api-key", "user-agent", "accept"];

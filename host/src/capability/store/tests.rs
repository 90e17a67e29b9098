#![allow(clippy::unwrap_used)]

use super::*;

fn text(store: &Store, key: &str, now_ms: u64) -> Option<String> {
    store.get(key, now_ms).map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
}

#[test]
fn set_get_remove() {
    let store = Store::default();
    assert_eq!(store.get("a", 0), None);
    let first = store.set("a", b"one", None, 0).unwrap();
    let second = store.set("a", b"two", None, 0).unwrap();
    assert!(second > first);
    assert_eq!(store.get("a", 0), Some(Entry { value: Bytes::from_static(b"two"), version: second }));
    assert!(store.remove("a", 0));
    assert!(!store.remove("a", 0));
    let third = store.set("a", b"", None, 0).unwrap();
    assert!(third > second, "a version is never used again");
    store.set("b", b"", Some(10), 0).unwrap();
    store.clear();
    assert_eq!((store.get("a", 0), store.len(), store.used_bytes()), (None, 0, 0));
    assert!(store.set("a", b"", None, 0).unwrap() > third);
}

#[test]
fn an_entry_ends_with_its_time_to_live() {
    let store = Store::default();
    store.set("a", b"1", Some(100), 1_000).unwrap();
    assert_eq!(text(&store, "a", 1_099).as_deref(), Some("1"));
    assert_eq!(text(&store, "a", 1_100), None);
    store.set("a", b"1", Some(0), 1_000).unwrap();
    assert_eq!(text(&store, "a", 1_000), None);
    store.set("a", b"1", Some(100), 1_000).unwrap();
    store.set("a", b"2", None, 1_000).unwrap();
    assert_eq!(text(&store, "a", u64::MAX).as_deref(), Some("2"), "a write without an end takes the end away");
    assert!(store.remove("a", 0));
    assert_eq!((store.len(), store.used_bytes()), (0, 0));
}

#[test]
fn compare_and_set_writes_only_over_the_expected_version() {
    let store = Store::default();
    let version = store.compare_and_set("a", None, b"1", None, 0).unwrap();
    let there = Entry { value: Bytes::from_static(b"1"), version };
    let conflict = Err(SwapError::Conflict(Some(there)));
    assert_eq!(store.compare_and_set("a", None, b"2", None, 0), conflict);
    assert_eq!(store.compare_and_set("a", Some(version + 1), b"2", None, 0), conflict);
    assert!(store.compare_and_set("a", Some(version), b"2", Some(10), 0).unwrap() > version);
    assert_eq!(store.compare_and_set("a", Some(version), b"3", None, 20), Err(SwapError::Conflict(None)));
}

#[test]
fn increments() {
    let store = Store::default();
    assert_eq!(store.increment("n", 5, Some(100), 0), Ok(5));
    assert_eq!(store.increment("n", -7, Some(1_000), 50), Ok(-2));
    assert_eq!(text(&store, "n", 99).as_deref(), Some("-2"));
    assert_eq!(store.increment("n", 1, Some(100), 100), Ok(1), "the end was that of the first increment");
    store.set("n", b"41", None, 0).unwrap();
    assert_eq!(store.increment("n", 1, None, 0), Ok(42));
    store.set("n", i64::MAX.to_string().as_bytes(), None, 0).unwrap();
    assert_eq!(store.increment("n", 1, None, 0), Err(StoreError::LimitExceeded));
    for odd in ["", "x", "+1", "01", " 1", "1.5", "-0", "9223372036854775808"] {
        store.set("n", odd.as_bytes(), None, 0).unwrap();
        assert_eq!(store.increment("n", 1, None, 0), Err(StoreError::NotANumber), "{odd:?}");
        assert_eq!(text(&store, "n", 0).as_deref(), Some(odd));
    }
}

#[test]
fn limits_hold_and_refuse_without_a_change() {
    let limits = Limits { bytes: 4 * (ENTRY_OVERHEAD_BYTES + 11), entries: 100, key_bytes: 4, value_bytes: 500 };
    let store = Store::new(limits);
    assert_eq!(store.set("12345", b"", None, 0), Err(StoreError::LimitExceeded));
    assert_eq!(store.increment("12345", 1, None, 0), Err(StoreError::LimitExceeded));
    assert_eq!(store.set("k", &[0; 501], None, 0), Err(StoreError::LimitExceeded));
    for key in ["a", "b", "c", "d"] {
        store.set(key, &[0; 10], None, 0).unwrap();
    }
    assert_eq!(store.used_bytes(), limits.bytes);
    assert_eq!(store.set("e", b"", None, 0), Err(StoreError::LimitExceeded));
    assert_eq!(store.set("a", &[1; 11], None, 0), Err(StoreError::LimitExceeded));
    assert_eq!(store.get("a", 0).unwrap().value, vec![0; 10]);
    store.set("a", &[1; 9], Some(5), 0).unwrap();
    assert_eq!(store.set("e", &[0; 10], None, 4), Err(StoreError::LimitExceeded));
    store.set("e", &[0; 10], None, 5).unwrap();
    assert_eq!(store.used_bytes(), limits.bytes);

    let store = Store::new(Limits { entries: 2, ..Limits::default() });
    store.set("a", b"", None, 0).unwrap();
    store.increment("b", 1, None, 0).unwrap();
    assert_eq!(store.increment("c", 1, None, 0), Err(StoreError::LimitExceeded));
    assert_eq!((store.len(), store.used_bytes()), (2, 2 + NUMBER_BYTES + 2 * ENTRY_OVERHEAD_BYTES));
}

#[test]
fn ended_entries_make_room_without_being_met() {
    let store = Store::new(Limits { entries: 1_000, ..Limits::default() });
    for round in 0..20u64 {
        for key in 0..500 {
            store.set(&format!("{round}/{key}"), b"x", Some(1_000), round * 1_000).unwrap();
        }
    }
    assert!(store.len() <= 1_000);
}

#[test]
fn threads_lose_no_increment_and_no_swap() {
    let store = Store::default();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    store.increment("n", 1, None, 0).unwrap();
                    loop {
                        let old = store.get("swap", 0);
                        let count = old.as_ref().map_or(0, |old| old.value.len());
                        let longer = vec![b'x'; count + 1];
                        if store.compare_and_set("swap", old.map(|old| old.version), &longer, None, 0).is_ok() {
                            break;
                        }
                    }
                }
            });
        }
    });
    assert_eq!(text(&store, "n", 0).as_deref(), Some("8000"));
    assert_eq!(store.get("swap", 0).unwrap().value.len(), 8_000);
    let expected = "n".len() + NUMBER_BYTES + "swap".len() + 8_000 + 2 * ENTRY_OVERHEAD_BYTES;
    assert_eq!(store.used_bytes(), expected);
}

#[test]
fn threads_never_pass_the_bound_together() {
    let limits = Limits { bytes: 100 * (ENTRY_OVERHEAD_BYTES + 20), ..Limits::default() };
    let store = Store::new(limits);
    let written: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let store = &store;
                let write = move |n| store.set(&format!("{writer}/{n:08}"), &[0; 10], None, 0).is_ok();
                scope.spawn(move || (0..1_000).filter(|n| write(*n)).count())
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!((written, store.used_bytes()), (100, limits.bytes));
}

#[test]
fn a_named_store_lives_while_somebody_holds_it() {
    let stores = Stores::default();
    let first = stores.named("a", Limits::default());
    first.set("k", b"v", None, 0).unwrap();
    let second = stores.named("a", Limits::default());
    drop(first);
    assert_eq!(text(&second, "k", 0).as_deref(), Some("v"));
    assert_eq!(stores.named("b", Limits::default()).get("k", 0), None);
    drop(second);
    assert_eq!(stores.named("a", Limits::default()).get("k", 0), None);
}

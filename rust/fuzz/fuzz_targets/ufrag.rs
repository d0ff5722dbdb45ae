//! The structured local ufrag: only what we signed is accepted, and what we make is accepted.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::ice::UfragKey;

static KEY: LazyLock<UfragKey> = LazyLock::new(|| UfragKey::new(1, 2, &[3; 32]));

fuzz_target!(|input: &[u8]| {
    assert!(KEY.verify(input, 0).is_err());
    if let Some((id, rest)) = input.split_first_chunk::<8>() {
        let id = u64::from_be_bytes(*id);
        let ufrag = KEY.make(id, rest.first().copied().unwrap_or(0), 10);
        assert_eq!(KEY.verify(ufrag.as_bytes(), 10).map(|fields| fields.transport_id()), Ok(id));
    }
});

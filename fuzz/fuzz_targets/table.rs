//! Checks that arbitrary bytes are rejected or read as tables and properties, and that they are written back
//! unchanged.
#![no_main]

use bytes::BytesMut;
use leveret::wire::table::{Entries, check_table};
use leveret::wire::{PropertiesView, decode_properties, decode_table, encode_table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let table = decode_table(data);
    assert_eq!(check_table(data).err(), table.as_ref().err().cloned());
    if let Ok(table) = table {
        assert!(Entries::of_table(data).count() >= table.inner().len());
        let mut out = BytesMut::new();
        encode_table(&table, &mut out);
        assert_eq!(
            format!("{:?}", decode_table(&out)),
            format!("{:?}", Ok::<_, ()>(&table))
        );
    }
    if let Ok(view) = PropertiesView::parse(data) {
        assert_eq!(view.edit().finish().get(2..), data.get(2..));
    } else {
        assert!(decode_properties(data).is_err());
    }
});

//! A type that cannot travel fails at its author, with the way out in the text.

use std::cell::Cell;

use serde::{Deserialize, Deserializer, Serialize};

use super::super::codec::{decode_checked, encode_checked};
use super::super::{Json, Payload};
use crate::error::{CodecSide, CodecStep, CodecValue};

const HINT: &str = "#[serde(flatten)]";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    b: u8,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    a: u8,
    #[serde(flatten)]
    inner: Inner,
}

fn flat() -> Flat {
    Flat {
        a: 1,
        inner: Inner { b: 2 },
    }
}

#[test]
fn flatten_is_named_and_json_works() {
    let error = encode_checked(&flat(), CodecValue::Output, CodecSide::Worker).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("cannot encode the output of type `"),
        "{text}"
    );
    assert!(text.contains("Flat` at the worker: "), "{text}");
    assert!(
        text.contains(HINT) && text.ends_with("wrap the value in Json<T>"),
        "{text}"
    );

    let (what, side) = (CodecValue::Input, CodecSide::Host);
    let payload = encode_checked(&Json(flat()), what, side).unwrap();
    let back: Json<Flat> = decode_checked(&payload, what, side).unwrap();
    assert_eq!(back.0, flat());
}

#[test]
fn skipped_fields_are_found_where_they_are_skipped() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Skips {
        #[serde(skip_serializing_if = "Option::is_none")]
        a: Option<u8>,
        b: u8,
    }
    let value = Skips { a: None, b: 1 };
    let result = encode_checked(&value, CodecValue::Input, CodecSide::Host);
    assert_eq!(result.is_err(), cfg!(debug_assertions));
    if let Err(error) = result {
        assert_eq!(error.step(), CodecStep::Encode);
        assert!(
            error
                .message()
                .starts_with("its bytes do not decode again: ")
        );
        assert!(error.to_string().contains(HINT));
    }
}

#[test]
fn only_the_first_8_values_are_decoded_again() {
    thread_local! { static DECODED: Cell<u32> = const { Cell::new(0) } }
    #[derive(Serialize)]
    struct Counts;
    impl<'de> Deserialize<'de> for Counts {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            DECODED.set(DECODED.get() + 1);
            Ok(Self)
        }
    }
    for _ in 0..20 {
        encode_checked(&Counts, CodecValue::Input, CodecSide::Host).unwrap();
    }
    assert_eq!(DECODED.get(), if cfg!(debug_assertions) { 8 } else { 0 });
}

#[test]
fn decode_errors_name_value_side_and_type() {
    let empty = Payload::default();
    let error = decode_checked::<u32>(&empty, CodecValue::Error, CodecSide::Host).unwrap_err();
    assert_eq!(error.value(), CodecValue::Error);
    assert_eq!(error.side(), CodecSide::Host);
    assert_eq!(error.step(), CodecStep::Decode);
    assert_eq!(
        error.to_string(),
        "cannot decode the error of type `u32` at the host: the bytes end too early"
    );
    let error = decode_checked::<serde_json::Value>(&empty, CodecValue::Output, CodecSide::Host);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("serde_json::Value do not work")
    );
}

#[test]
fn limits_are_not_blamed_on_attributes() {
    let error = encode_checked(&vec![(); 100_000], CodecValue::Input, CodecSide::Host);
    if let Err(error) = error {
        assert!(!error.to_string().contains(HINT), "{error}");
    }
}

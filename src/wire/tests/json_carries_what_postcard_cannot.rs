//! In `Json`, types work whose serde attributes need a self-describing format.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::codec::{decode, encode};
use super::super::{Json, Payload};
use super::comes_back;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    b: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    c: Option<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    a: u8,
    #[serde(flatten)]
    inner: Inner,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Number(u64),
    Text(String),
    Both { n: u64, t: String },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    One { n: u64 },
    Two,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct All {
    before: u8,
    flat: Json<Flat>,
    either: Vec<Json<Either>>,
    tagged: Json<Vec<Tagged>>,
    value: Json<Value>,
    nested: Json<Option<Json<Flat>>>,
    after: u8,
}

fn flat() -> Flat {
    Flat {
        a: 1,
        inner: Inner { b: 2, c: None },
    }
}

#[test]
fn attributes_and_values_come_back() {
    let both = Either::Both {
        n: 1,
        t: "t".into(),
    };
    comes_back(All {
        before: 8,
        flat: Json(flat()),
        either: vec![
            Json(Either::Number(7)),
            Json(Either::Text("x".into())),
            Json(both),
        ],
        tagged: Json(vec![Tagged::One { n: 5 }, Tagged::Two]),
        value: Json(json!({ "a": [1, 2.5, null, true, "s", { "deep": [-1] }] })),
        nested: Json(Some(Json(flat()))),
        after: 9,
    });
}

#[test]
fn without_it_they_fail_with_a_reason() {
    let error = encode(&flat()).unwrap_err();
    assert!(error.contains("unknown length"), "{error}");
    let payload = encode(&Either::Number(1)).unwrap();
    let error = decode::<Either>(&payload).unwrap_err();
    assert!(error.contains("deserialize_any"), "{error}");
}

#[test]
fn errors_in_the_text_say_where() {
    let payload = encode("{\"a\":1}").unwrap();
    let error = decode::<Json<Flat>>(&payload).unwrap_err();
    assert!(error.starts_with("missing field `b`"), "{error}");
    let payload = encode("{\"a\":1").unwrap();
    let error = decode::<Json<Value>>(&payload).unwrap_err();
    assert!(error.contains("EOF while parsing"), "{error}");
    let payload = encode("null null").unwrap();
    let error = decode::<Json<Value>>(&payload).unwrap_err();
    assert!(error.contains("trailing characters"), "{error}");
}

#[test]
fn why_a_value_does_not_become_json_is_said() {
    #[derive(Debug, Serialize)]
    struct Sad(#[serde(serialize_with = "fail")] u8);
    fn fail<S: serde::Serializer>(_: &u8, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("too sad"))
    }
    assert_eq!(encode(&Json(Sad(1))).unwrap_err(), "too sad");
}

#[test]
fn deep_texts_fail_cleanly() {
    let deep = encode(&"[".repeat(1_000_000)).unwrap();
    let error = decode::<Json<Value>>(&deep).unwrap_err();
    assert!(
        error.contains("recursion limit") || error.contains("nested"),
        "{error}"
    );
    decode::<Json<Value>>(&Payload::default()).unwrap_err();
}

#[test]
fn it_is_the_value_it_holds() {
    let mut value = Json::from(vec![1]);
    value.push(2);
    assert_eq!(value.len(), 2);
    assert_eq!(value.into_inner(), [1, 2]);
}

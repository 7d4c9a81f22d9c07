//! The texts and limits of `CodecError`.

use super::{CodecError, CodecSide, CodecStep, CodecValue, cut};

fn error(message: impl Into<String>) -> CodecError {
    let (value, side) = (CodecValue::Output, CodecSide::Host);
    CodecError::new(value, side, CodecStep::Decode, "my::Out", message)
}

#[test]
fn display_names_what_where_and_the_way_out() {
    let plain = error("the bytes end too early");
    assert_eq!(
        plain.to_string(),
        "cannot decode the output of type `my::Out` at the host: the bytes end too early"
    );
    assert_eq!(
        error("why").with_attribute_hint().to_string(),
        "cannot decode the output of type `my::Out` at the host: why; postcard is not self-describing: \
         #[serde(flatten)], #[serde(untagged)], #[serde(tag = ..)], #[serde(skip_serializing_if = ..)] and \
         serde_json::Value do not work, wrap the value in Json<T>"
    );
    let (value, side) = (CodecValue::InitArgs, CodecSide::Worker);
    assert_eq!(
        CodecError::new(value, side, CodecStep::Encode, "T", "x").to_string(),
        "cannot encode the init arguments of type `T` at the worker: x"
    );
}

#[test]
fn long_texts_are_cut_at_a_character() {
    let name = "é".repeat(200) + "x";
    let (value, side) = (CodecValue::Input, CodecSide::Host);
    let error = CodecError::new(value, side, CodecStep::Encode, &name, "🦀".repeat(1000));
    assert_eq!(error.type_name(), "é".repeat(128));
    assert_eq!(error.message(), "🦀".repeat(512));
    assert_eq!(
        (cut("é", 1), cut("é", 2), cut("", 0), cut("ab", 9)),
        ("", "é", "", "ab")
    );
}

#[test]
fn texts_from_elsewhere_are_cut_too() {
    let mut sent = serde_json::to_value(error("short").with_attribute_hint()).unwrap();
    let received: CodecError = serde_json::from_value(sent.clone()).unwrap();
    assert_eq!(received, error("short").with_attribute_hint());
    let fields = sent.as_object_mut().unwrap();
    fields.insert("type_name".into(), "n".repeat(9999).into());
    fields.insert("message".into(), "m".repeat(9999).into());
    let received: CodecError = serde_json::from_value(sent).unwrap();
    assert_eq!(
        (received.type_name().len(), received.message().len()),
        (256, 2048)
    );
}

#[test]
fn only_what_comes_before_the_start_never_ran() {
    let ran =
        |value| !CodecError::new(value, CodecSide::Host, CodecStep::Encode, "T", "").never_ran();
    assert!(!ran(CodecValue::Input) && !ran(CodecValue::InitArgs));
    assert!(ran(CodecValue::Output) && ran(CodecValue::Error));
}

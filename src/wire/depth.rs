//! Limits on what decoding may do with bytes from another process.
//!
//! Belongs here: a serde `Deserializer` around another one that counts nesting and elements.
//! Does not belong here: any format, or the counters themselves (`limits`).
//! Invariant: decoding recurses and loops no further than the limits say, whatever the bytes and the type are.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::limits::{Fault, Level, believe, charge_element};

/// The limiting deserializer.
#[derive(Debug)]
pub(super) struct Limited<D> {
    inner: D,
    // An option counts only directly in another one: elsewhere what holds it was counted, and a list of
    // `struct Node { next: Option<Box<Node>> }` would be allowed but half its length.
    in_option: bool,
}

impl<D> Limited<D> {
    #[inline]
    pub(super) fn new(inner: D) -> Self {
        Self {
            inner,
            in_option: false,
        }
    }
}

macro_rules! deserialize {
    ($elements:literal $($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        #[inline]
        fn $name<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            let visitor = Watch { visitor, level: true, elements: $elements };
            self.inner.$name($($arg,)* visitor).map_err(Fault)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Limited<D> {
    type Error = Fault<D::Error>;

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }

    // The bytes say how many elements these have, if they are or turn out to be sequences or maps.
    deserialize! { true
        deserialize_any();
        deserialize_ignored_any();
        deserialize_identifier();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_map();
    }

    // The type says how many elements these have.
    deserialize! { false
        deserialize_newtype_struct(name: &'static str);
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let visitor = Watch {
            visitor,
            level: self.in_option,
            elements: false,
        };
        self.inner.deserialize_option(visitor).map_err(Fault)
    }
}

/// A visitor that counts what the visitor in it is shown.
struct Watch<V> {
    visitor: V,
    level: bool,
    elements: bool,
}

macro_rules! visit {
    ($($name:ident($($type:ty)?);)*) => {$(
        #[inline]
        fn $name<E: de::Error>(self, $(value: $type)?) -> Result<V::Value, E> {
            self.visitor.$name::<Fault<E>>($(value as $type)?).map_err(Fault::into_inner)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watch<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
        visit_none();
        visit_unit();
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let _level = Level::enter::<Fault<_>>(self.level).map_err(Fault::into_inner)?;
        let inner = Limited {
            inner,
            in_option: true,
        };
        self.visitor.visit_some(inner).map_err(Fault::into_inner)
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let _level = Level::enter::<Fault<_>>(self.level).map_err(Fault::into_inner)?;
        let inner = Limited::new(inner);
        (self.visitor.visit_newtype_struct(inner)).map_err(Fault::into_inner)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let _level = Level::enter::<Fault<_>>(self.level).map_err(Fault::into_inner)?;
        let counted = self.elements;
        (self.visitor.visit_seq(Elements { inner, counted })).map_err(Fault::into_inner)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let _level = Level::enter::<Fault<_>>(self.level).map_err(Fault::into_inner)?;
        let counted = self.elements;
        (self.visitor.visit_map(Elements { inner, counted })).map_err(Fault::into_inner)
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let _level = Level::enter::<Fault<_>>(self.level).map_err(Fault::into_inner)?;
        (self.visitor.visit_enum(Variant(inner))).map_err(Fault::into_inner)
    }
}

/// Hands the limits on to whatever is deserialized next.
struct Seed<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        (self.0.deserialize(Limited::new(inner))).map_err(Fault::into_inner)
    }
}

/// A sequence or map whose elements are charged to the allowance when the bytes, not the type, say how many.
struct Elements<A> {
    inner: A,
    counted: bool,
}

impl<A> Elements<A> {
    #[inline]
    fn cap(&self, hint: Option<usize>) -> Option<usize> {
        match hint {
            Some(hint) if self.counted => Some(believe(hint)),
            other => other,
        }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<A> {
    type Error = Fault<A::Error>;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Self::Error> {
        let element = self.inner.next_element_seed(Seed(seed)).map_err(Fault)?;
        // After the fact, because the question that finds the end is not an element.
        if self.counted && element.is_some() {
            charge_element()?;
        }
        Ok(element)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.cap(self.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Elements<A> {
    type Error = Fault<A::Error>;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Self::Error> {
        let key = self.inner.next_key_seed(Seed(seed)).map_err(Fault)?;
        if self.counted && key.is_some() {
            charge_element()?;
        }
        Ok(key)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, Self::Error> {
        self.inner.next_value_seed(Seed(seed)).map_err(Fault)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.cap(self.inner.size_hint())
    }
}

/// An enum, then its variant; the level was counted for the enum, its fields are no further one.
struct Variant<A>(A);

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Variant<A> {
    type Error = Fault<A::Error>;
    type Variant = Variant<A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Self::Error> {
        let (value, variant) = self.0.variant_seed(Seed(seed)).map_err(Fault)?;
        Ok((value, Variant(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Variant<A> {
    type Error = Fault<A::Error>;

    #[inline]
    fn unit_variant(self) -> Result<(), Self::Error> {
        self.0.unit_variant().map_err(Fault)
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, Self::Error> {
        self.0.newtype_variant_seed(Seed(seed)).map_err(Fault)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0
            .tuple_variant(len, Watch::fields(visitor))
            .map_err(Fault)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0
            .struct_variant(fields, Watch::fields(visitor))
            .map_err(Fault)
    }
}

impl<V> Watch<V> {
    #[inline]
    fn fields(visitor: V) -> Self {
        Self {
            visitor,
            level: false,
            elements: false,
        }
    }
}

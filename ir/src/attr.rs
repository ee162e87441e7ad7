//! Attributes of operations at the borders: text, model files, JSON.
//!
//! In memory an operation has typed fields. Each describes its fields once, in `OpDef::attrs`, by handing them to an
//! [`AttrVisitor`]; printers read through it, parsers and importers write through it.

use std::fmt;

use smallvec::SmallVec;

use crate::dtype::DType;

/// A 32-bit float that compares, orders and hashes by its bits, so that operations can be hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct F32Bits(u32);

impl F32Bits {
    /// The number.
    pub fn get(self) -> f32 {
        f32::from_bits(self.0)
    }
}

impl From<f32> for F32Bits {
    fn from(value: f32) -> Self {
        Self(value.to_bits())
    }
}

/// Writes the shortest text that reads back as the same bits, always with a point or an exponent.
impl fmt::Display for F32Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.get();
        if value.is_nan() && self.0 != f32::NAN.to_bits() {
            return write!(f, "nan(0x{:08x})", self.0);
        }
        if value.is_nan() {
            return f.write_str("nan");
        }
        if value.is_infinite() {
            return f.write_str(if value > 0.0 { "inf" } else { "-inf" });
        }
        write!(f, "{value:?}")
    }
}

/// The value of an attribute as text, model files and JSON know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attr {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A number.
    Float(F32Bits),
    /// A list of numbers.
    Floats(Vec<F32Bits>),
    /// A word: the name of a mode, or free text.
    Str(String),
    /// An element type.
    DType(DType),
}

impl Attr {
    /// What kind of value this is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "an integer",
            Self::Ints(_) => "a list of integers",
            Self::Float(_) => "a number",
            Self::Floats(_) => "a list of numbers",
            Self::Str(_) => "a word",
            Self::DType(_) => "an element type",
        }
    }
}

/// An attribute was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttrError {
    /// The value is of another kind.
    #[error("attribute `{name}` is {found}, expected {expected}")]
    Kind {
        /// The attribute.
        name: String,
        /// What was given.
        found: String,
        /// What the operation takes.
        expected: String,
    },
    /// The operation has no such attribute.
    #[error("unknown attribute `{name}`; known are: {known}")]
    Unknown {
        /// The attribute.
        name: String,
        /// The operation's attributes, separated by commas.
        known: String,
    },
    /// A reader refused the whole operation.
    #[error("{0}")]
    Other(String),
}

/// Receives the fields of an operation, one after the other.
pub trait AttrVisitor {
    /// Reads or writes one field.
    fn visit(&mut self, name: &'static str, value: &mut dyn AttrValue) -> Result<(), AttrError>;
}

impl dyn AttrVisitor + '_ {
    /// Hands over the field `name`. This is the line that an operation's `attrs` has per field.
    pub fn attr<T: AttrValue>(&mut self, name: &'static str, field: &mut T) -> Result<(), AttrError> {
        self.visit(name, field)
    }
}

/// A field type that has a border form.
pub trait AttrValue {
    /// The border form.
    fn to_attr(&self) -> Attr;
    /// Takes `attr`, or says what would have been right: the `Err` completes "expected ..".
    fn set_attr(&mut self, attr: &Attr) -> Result<(), String>;
    /// Whether it takes an [`Attr::DType`], which files write as a number.
    fn is_dtype(&self) -> bool {
        false
    }
    /// Whether there is no value, and so nothing to write.
    fn is_absent(&self) -> bool {
        false
    }
}

impl AttrValue for bool {
    fn to_attr(&self) -> Attr {
        Attr::Bool(*self)
    }
    fn set_attr(&mut self, attr: &Attr) -> Result<(), String> {
        *self = match attr {
            Attr::Bool(value) => *value,
            // Model files spell truth values as integers.
            Attr::Int(value @ (0 | 1)) => *value == 1,
            _ => return Err("true or false".to_owned()),
        };
        Ok(())
    }
}

macro_rules! integer_attrs {
    ($($int:ty),*) => {$(
        impl AttrValue for $int {
            fn to_attr(&self) -> Attr {
                Attr::Int(i64::try_from(*self).unwrap_or(i64::MAX))
            }
            fn set_attr(&mut self, attr: &Attr) -> Result<(), String> {
                let Attr::Int(value) = attr else { return Err("an integer".to_owned()) };
                *self = <$int>::try_from(*value)
                    .map_err(|_| format!("an integer from {} to {}", <$int>::MIN, <$int>::MAX))?;
                Ok(())
            }
        }
        impl AttrValue for Vec<$int> {
            fn to_attr(&self) -> Attr {
                Attr::Ints(self.iter().map(|value| i64::try_from(*value).unwrap_or(i64::MAX)).collect())
            }
            fn set_attr(&mut self, attr: &Attr) -> Result<(), String> {
                let Attr::Ints(values) = attr else { return Err("a list of integers".to_owned()) };
                let converted: Result<Vec<$int>, _> = values.iter().map(|value| <$int>::try_from(*value)).collect();
                *self = converted.map_err(|_| format!("integers from {} to {}", <$int>::MIN, <$int>::MAX))?;
                Ok(())
            }
        }
    )*};
}
integer_attrs!(i64, u64, u32, i32);

impl<const N: usize> AttrValue for SmallVec<[u64; N]>
where
    [u64; N]: smallvec::Array<Item = u64>,
{
    fn to_attr(&self) -> Attr {
        self.to_vec().to_attr()
    }
    fn set_attr(&mut self, attr: &Attr) -> Result<(), String> {
        let mut values: Vec<u64> = Vec::new();
        values.set_attr(attr)?;
        *self = SmallVec::from_vec(values);
        Ok(())
    }
}

impl AttrValue for F32Bits {
    fn to_attr(&self) -> Attr {
        Attr::Float(*self)
    }
    fn set_attr(&mut self, attr: &Attr) -> Result<(), String> {
        let Attr::Float(value) = attr else { return Err("a number".to_owned()) };
        *self = *value;
        Ok(())
    }
}

impl AttrValue for Vec<F32Bits> {
    fn to_attr(&self) -> Attr {
        Attr::Floats(self.clone())
    }
    fn set_attr(&mut self, attr: &Attr) -> Result<(), String> {
        *self = match attr {
            Attr::Floats(values) => values.clone(),
            // The text `[]` does not say what it is a list of.
            Attr::Ints(values) if values.is_empty() => Vec::new(),
            _ => return Err("a list of numbers".to_owned()),
        };
        Ok(())
    }
}

impl AttrValue for String {
    fn to_attr(&self) -> Attr {
        Attr::Str(self.clone())
    }
    fn set_attr(&mut self, attr: &Attr) -> Result<(), String> {
        let Attr::Str(value) = attr else { return Err("a word".to_owned()) };
        self.clone_from(value);
        Ok(())
    }
}

impl AttrValue for DType {
    fn to_attr(&self) -> Attr {
        Attr::DType(*self)
    }
    fn set_attr(&mut self, attr: &Attr) -> Result<(), String> {
        let Attr::DType(value) = attr else { return Err("an element type".to_owned()) };
        *self = *value;
        Ok(())
    }
    fn is_dtype(&self) -> bool {
        true
    }
}

/// A field that may be absent; absent fields are not printed, so only `None` may be the default.
impl<T: AttrValue + Default> AttrValue for Option<T> {
    fn to_attr(&self) -> Attr {
        self.as_ref().map_or_else(|| Attr::Str("none".to_owned()), AttrValue::to_attr)
    }
    fn set_attr(&mut self, attr: &Attr) -> Result<(), String> {
        let mut value = T::default();
        value.set_attr(attr)?;
        *self = Some(value);
        Ok(())
    }
    fn is_dtype(&self) -> bool {
        T::default().is_dtype()
    }
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

/// Declares an enum of modes that is an attribute, of an operation or of a pass: each variant is written as its word.
#[macro_export]
macro_rules! attr_enum {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $crate::attr::AttrValue for $name {
            fn to_attr(&self) -> $crate::attr::Attr {
                let word = match self { $(Self::$variant => $word,)* };
                $crate::attr::Attr::Str(word.to_owned())
            }
            fn set_attr(&mut self, attr: &$crate::attr::Attr) -> Result<(), String> {
                let words = [$($word),*].join(", ");
                let $crate::attr::Attr::Str(found) = attr else { return Err(format!("one of {words}")) };
                *self = match found.as_str() {
                    $($word => Self::$variant,)*
                    _ => return Err(format!("one of {words}")),
                };
                Ok(())
            }
        }
    };
}
pub use crate::attr_enum;

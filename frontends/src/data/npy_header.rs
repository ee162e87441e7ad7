//! The header of an array in NumPy's format: a Python dictionary of element type, order and shape.
//!
//! NumPy writes the header as a Python literal and reads any literal back. Here only the form that NumPy writes is
//! taken, by a scanner without recursion, so that a hostile header can neither run, nor nest, nor grow.

use std::io::Read;

use quad_ir::dtype::DType;

use super::npy::{Elements, Header, NpyError};

/// NumPy itself refuses longer headers than this when it does not trust a file.
const MAX_HEADER: u64 = 10_000;

/// The names that `ml_dtypes` gives to types that NumPy lacks.
const EXTENSIONS: &[(&str, DType)] = &[
    ("bfloat16", DType::BF16),
    ("float8_e4m3fn", DType::F8E4M3FN),
    ("float8_e4m3fnuz", DType::F8E4M3FNUZ),
    ("float8_e5m2", DType::F8E5M2),
    ("float8_e5m2fnuz", DType::F8E5M2FNUZ),
    ("float8_e8m0fnu", DType::F8E8M0),
    ("float4_e2m1fn", DType::F4E2M1),
    ("int4", DType::I4),
    ("uint4", DType::U4),
    ("int2", DType::I2),
    ("uint2", DType::U2),
];

/// The types that NumPy has, as it describes them.
const PLAIN: &[(&str, DType)] = &[
    ("f8", DType::F64),
    ("f4", DType::F32),
    ("f2", DType::F16),
    ("i8", DType::I64),
    ("i4", DType::I32),
    ("i2", DType::I16),
    ("i1", DType::I8),
    ("u8", DType::U64),
    ("u4", DType::U32),
    ("u2", DType::U16),
    ("u1", DType::U8),
    ("b1", DType::Bool),
    // `ml_dtypes` registers this one as a float of one byte, and NumPy refuses to read it back.
    ("f1", DType::F8E5M2),
    // `ml_dtypes` has one type of two bytes; NumPy describes it as two bytes of anything.
    ("V2", DType::BF16),
];

/// Reads the preamble and the header. Returns it with the number of bytes read.
pub(super) fn read(from: &mut dyn Read) -> Result<(Header, u64), NpyError> {
    let mut preamble = [0; 8];
    read_exact(from, &mut preamble)?;
    if &preamble[..6] != b"\x93NUMPY" {
        return Err(NpyError::NoArray);
    }
    let width = match preamble[6] {
        1 => 2,
        2 | 3 => 4,
        version => return Err(NpyError::Version(version)),
    };
    let mut length = [0; 4];
    read_exact(from, &mut length[..width])?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > MAX_HEADER {
        return Err(NpyError::Header(format!("is {length} bytes long, at most {MAX_HEADER} are accepted")));
    }
    let mut text = vec![0; length as usize];
    read_exact(from, &mut text)?;
    let text = std::str::from_utf8(&text).map_err(|_| NpyError::Header("is not text".into()))?;
    Ok((parse(text)?, 8 + width as u64 + length))
}

/// The preamble and header of an array of `dtype` in row-major order, padded so that the elements are aligned.
pub(super) fn write(dtype: DType, sizes: &[usize]) -> Vec<u8> {
    let shape = sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    // A tuple of one needs a comma to be a tuple.
    let comma = if sizes.len() == 1 { "," } else { "" };
    let descr = describe(dtype);
    let mut text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': ({shape}{comma}), }}");
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text.extend(std::iter::repeat_n(' ', length - 1 - text.len()));
    text.push('\n');
    // At most 32 axes of at most 15 digits: far below 2^16.
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// NumPy's description of `dtype`; for types that it lacks, a record of one integer field with the type's name.
fn describe(dtype: DType) -> String {
    if let Some((name, _)) = EXTENSIONS.iter().find(|(_, known)| *known == dtype) {
        let field = match dtype {
            DType::BF16 => "<u2",
            DType::I4 | DType::I2 => "|i1",
            _ => "|u1",
        };
        return format!("[('{name}', '{field}')]");
    }
    let order = if dtype.bits() > 8 { '<' } else { '|' };
    let name = PLAIN.iter().find(|(_, known)| *known == dtype).map_or("", |(name, _)| name);
    format!("'{order}{name}'")
}

fn read_exact(from: &mut dyn Read, buffer: &mut [u8]) -> Result<(), NpyError> {
    from.read_exact(buffer).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => NpyError::Header("is cut short".into()),
        _ => NpyError::Read(error),
    })
}

fn parse(text: &str) -> Result<Header, NpyError> {
    let mut scanner = Scanner { rest: text };
    let (mut elements, mut column_major, mut sizes) = (None, None, None);
    scanner.expect('{')?;
    while !scanner.accept('}') {
        let key = scanner.string()?;
        scanner.expect(':')?;
        match key {
            "descr" => elements = Some(scanner.elements()?),
            "fortran_order" => column_major = Some(scanner.truth()?),
            "shape" => sizes = Some(scanner.sizes()?),
            _ => return Err(NpyError::Header(format!("has the unknown key `{key}`"))),
        }
        if !scanner.accept(',') {
            scanner.expect('}')?;
            break;
        }
    }
    if !scanner.rest.trim().is_empty() {
        return Err(NpyError::Header("has text behind its end".into()));
    }
    let missing = |key: &str| NpyError::Header(format!("lacks the key `{key}`"));
    let (elements, big_endian) = elements.ok_or_else(|| missing("descr"))?;
    Ok(Header {
        elements,
        big_endian,
        column_major: column_major.ok_or_else(|| missing("fortran_order"))?,
        sizes: sizes.ok_or_else(|| missing("shape"))?,
    })
}

/// What is left of a header.
struct Scanner<'t> {
    rest: &'t str,
}

impl<'t> Scanner<'t> {
    fn accept(&mut self, wanted: char) -> bool {
        let rest = self.rest.trim_start();
        self.rest = rest.strip_prefix(wanted).unwrap_or(rest);
        self.rest.len() < rest.len()
    }

    fn expect(&mut self, wanted: char) -> Result<(), NpyError> {
        if self.accept(wanted) { Ok(()) } else { Err(self.found(&format!("`{wanted}`"))) }
    }

    /// A quoted string without escapes; none of NumPy's keys and types needs one.
    fn string(&mut self) -> Result<&'t str, NpyError> {
        let quote = if self.accept('\'') { '\'' } else { '"' };
        if quote == '"' {
            self.expect('"')?;
        }
        let (text, rest) = self.rest.split_once(quote).ok_or_else(|| self.found("the end of a string"))?;
        self.rest = rest;
        Ok(text)
    }

    fn word(&mut self) -> &'t str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn truth(&mut self) -> Result<bool, NpyError> {
        let before = self.rest;
        match self.word() {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => Err(Scanner { rest: before }.found("True or False")),
        }
    }

    /// A tuple of sizes.
    fn sizes(&mut self) -> Result<Vec<u64>, NpyError> {
        self.expect('(')?;
        let mut sizes = Vec::new();
        while !self.accept(')') {
            let before = self.rest;
            // Python 2 marked long integers.
            let size = self.word().trim_end_matches('L').parse();
            sizes.push(size.map_err(|_| Scanner { rest: before }.found("a size"))?);
            if !self.accept(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(sizes)
    }

    /// An element type and whether its bytes are in the other order.
    fn elements(&mut self) -> Result<(Elements, bool), NpyError> {
        let before = self.rest;
        let unsupported = || {
            let end = before.find(", 'fortran_order'").unwrap_or(before.len()).min(60);
            let shown = before.get(..end).unwrap_or_default().trim();
            NpyError::Elements(shown.to_owned())
        };
        if !self.accept('[') {
            return plain(self.string()?).ok_or_else(unsupported);
        }
        // A record is taken only as the wrapping of a type that NumPy lacks: one field with the type's name.
        self.expect('(')?;
        let name = self.string()?;
        self.expect(',')?;
        let field = self.string().ok().and_then(plain);
        if !(self.accept(')') && (self.accept(']') || (self.accept(',') && self.accept(']')))) {
            return Err(unsupported());
        }
        let known = EXTENSIONS.iter().find(|(known, _)| *known == name);
        match (known, field) {
            (Some((_, dtype)), Some((field, big_endian))) if field.width() == width(*dtype) => {
                Ok((Elements::Known(*dtype), big_endian))
            }
            _ => Err(unsupported()),
        }
    }

    fn found(&self, expected: &str) -> NpyError {
        let shown: String = self.rest.trim_start().chars().take(20).collect();
        NpyError::Header(format!("has {shown:?} where {expected} is expected"))
    }
}

/// Bytes that an element of `dtype` takes in an array; types below a byte are not packed.
pub(super) fn width(dtype: DType) -> usize {
    dtype.bits().div_ceil(8) as usize
}

/// What a description such as `<f4` stands for, and whether its bytes are in the other order.
fn plain(description: &str) -> Option<(Elements, bool)> {
    let order = description.chars().next().filter(|c| "<>=|".contains(*c));
    let name = description.trim_start_matches(['<', '>', '=', '|']);
    let elements = match PLAIN.iter().find(|(known, _)| *known == name) {
        Some((_, dtype)) => Elements::Known(*dtype),
        None if name == "V1" => Elements::Unnamed,
        None => return None,
    };
    Some((elements, order == Some('>')))
}

//! How adapters are read: options that every command has that reads some.

use std::path::Path;

use clap::ValueEnum;
use quad_frontends::adapter::{self, Adapter, Dialect, ReadOptions};

use crate::exit::Failure;

/// Options of commands that read adapters.
#[derive(Debug, clap::Args)]
pub(crate) struct Reading {
    /// Read this dialect from files that mix several.
    #[arg(long, value_enum, value_name = "NAME")]
    dialect: Option<DialectName>,
    /// Read an alpha of zero as this scale; without it, it is an error.
    #[arg(long, value_enum, value_name = "SCALE")]
    zero_alpha: Option<ZeroAlpha>,
}

/// The dialects by their names.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DialectName {
    Peft,
    Diffusers,
    DiffusersOld,
    AttentionProcessor,
    Kohya,
}

/// What an alpha of zero may mean.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ZeroAlpha {
    #[value(name = "0")]
    Zero,
    #[value(name = "1")]
    One,
}

impl Reading {
    /// The adapter at `path`.
    pub(crate) fn read(&self, path: &Path) -> Result<Adapter, Failure> {
        adapter::read(path, &self.options()).map_err(Failure::input)
    }

    fn options(&self) -> ReadOptions {
        let dialect = self.dialect.map(|name| match name {
            DialectName::Peft => Dialect::Peft,
            DialectName::Diffusers => Dialect::Diffusers,
            DialectName::DiffusersOld => Dialect::DiffusersOld,
            DialectName::AttentionProcessor => Dialect::AttentionProcessor,
            DialectName::Kohya => Dialect::Kohya,
        });
        let zero_alpha = match self.zero_alpha {
            None => adapter::ZeroAlpha::Refused,
            Some(ZeroAlpha::Zero) => adapter::ZeroAlpha::Zero,
            Some(ZeroAlpha::One) => adapter::ZeroAlpha::One,
        };
        ReadOptions { modules: None, dialect, zero_alpha }
    }
}

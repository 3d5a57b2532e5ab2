//! Heap tuples to column values, and values to the text that psql prints with the server's default settings. Pure:
//! out-of-line values are fetched by the caller.

mod builtin;
mod field;
pub mod model;
pub mod quote;
pub mod text;
pub mod toast;
pub mod tuple;

pub use builtin::oid;
pub use model::{Align, Column, Settings, Type, TypeKind, Types};
pub use quote::{quote_ident, sql_literal};
pub use text::{Untextable, text};
pub use toast::{ToastPointer, ToastSource};
pub use tuple::{Datum, Header, columns};

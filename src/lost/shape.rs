//! What a table's rows look like to a transaction, from the catalogs.

use std::collections::HashSet;
use std::sync::Arc;

use crate::pg::{Oid, RelFile};
use crate::rows::{Type, TypeKind, Types};

use super::catalog::{Database, View};
use super::model::Shape;
use super::rowtypes::{Catalog, CatalogRow, IndexRow, TypeRow};

/// Types refer to each other; deeper than this nobody nests them.
const MAX_DEPTH: u32 = 32;

/// The table whose file this is, as the transaction sees it.
pub fn shape(database: &Database<'_>, view: &View<'_>, file: RelFile) -> Option<Shape> {
    let class = database.class_of_file(view, file)?;
    let columns = database.columns(view, class.oid);
    let mut types = Types::builtin();
    let mut known = HashSet::new();
    for column in &columns {
        add_type(database, view, column.type_oid, &mut types, &mut known, 0);
    }
    let key = key(database, view, class.oid, &columns);
    Some(Shape {
        database: database.oid,
        database_name: database.name.clone(),
        schema: database.schema(view, class.namespace),
        name: class.name.clone(),
        oid: class.oid,
        file,
        kind: class.kind,
        columns,
        types: Arc::new(types),
        key,
        toast: class.toast,
        transient_of: class.transient_of,
    })
}

fn add_type(
    database: &Database<'_>,
    view: &View<'_>,
    oid: Oid,
    types: &mut Types,
    known: &mut HashSet<Oid>,
    depth: u32,
) {
    if oid == 0 || depth > MAX_DEPTH || types.get(oid).is_some() || !known.insert(oid) {
        return;
    }
    let seen = database.rows(view, Catalog::Type, oid).last();
    let Some(CatalogRow::Type(row)) = seen.or_else(|| database.any(Catalog::Type, oid)) else { return };
    let mut add = |oid, types: &mut Types| add_type(database, view, oid, types, known, depth + 1);
    let kind = match row.kind {
        b'e' => TypeKind::Enum(labels(database, view, oid)),
        b'd' => {
            add(row.base, types);
            TypeKind::Domain { base: row.base, typmod: row.typmod }
        }
        b'c' => {
            let columns = database.columns(view, row.relation);
            for column in &columns {
                add(column.type_oid, types);
            }
            TypeKind::Composite(columns)
        }
        b'r' => match range(database, view, oid) {
            Some(subtype) => {
                add(subtype, types);
                TypeKind::Range { subtype }
            }
            None => TypeKind::Base,
        },
        b'm' => match range_of_multirange(database, view, oid) {
            Some(range) => {
                add(range, types);
                TypeKind::Multirange { range }
            }
            None => TypeKind::Base,
        },
        b'p' => TypeKind::Pseudo,
        _ if row.element != 0 && row.len == -1 => {
            add(row.element, types);
            TypeKind::Array { element: row.element }
        }
        _ => TypeKind::Base,
    };
    types.add(typ(database, view, row, kind));
}

fn typ(database: &Database<'_>, view: &View<'_>, row: &TypeRow, kind: TypeKind) -> Type {
    Type {
        oid: row.oid,
        name: row.name.clone(),
        schema: database.schema(view, row.namespace),
        kind,
        len: row.len,
        align: row.align,
        delimiter: row.delimiter,
    }
}

fn labels(database: &Database<'_>, view: &View<'_>, of: Oid) -> Vec<(Oid, String)> {
    let rows = database.rows(view, Catalog::Enum, of);
    let mut labels: Vec<(f32, Oid, String)> = rows
        .filter_map(|row| match row {
            CatalogRow::Enum { oid, order, label, .. } => Some((f32::from_bits(*order), *oid, label.clone())),
            _ => None,
        })
        .collect();
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    labels.into_iter().map(|(_, oid, label)| (oid, label)).collect()
}

fn range(database: &Database<'_>, view: &View<'_>, oid: Oid) -> Option<Oid> {
    match database.rows(view, Catalog::Range, oid).last().or_else(|| database.any(Catalog::Range, oid))? {
        CatalogRow::Range { subtype, .. } => Some(*subtype),
        _ => None,
    }
}

fn range_of_multirange(database: &Database<'_>, view: &View<'_>, oid: Oid) -> Option<Oid> {
    database.all(view, Catalog::Range).find_map(|row| match row {
        CatalogRow::Range { oid: range, multirange: Some(multirange), .. } if *multirange == oid => {
            Some(*range)
        }
        _ => None,
    })
}

/// The primary key, else the replica identity, else the first unique index, if its columns are all not null.
fn key(database: &Database<'_>, view: &View<'_>, relation: Oid, columns: &[crate::rows::Column]) -> Vec<i16> {
    let not_null = |number: &i16| columns.iter().any(|c| c.number == *number && c.not_null && !c.dropped);
    let mut usable: Vec<&IndexRow> = database
        .rows(view, Catalog::Index, relation)
        .filter_map(|row| match row {
            CatalogRow::Index(row) => Some(row),
            _ => None,
        })
        .filter(|row| row.unique && row.immediate && row.valid && !row.partial && !row.key.is_empty())
        .filter(|row| row.key.iter().all(not_null))
        .collect();
    usable.sort_by_key(|row| (!row.primary, !row.replica_identity, row.index));
    usable.first().map(|row| row.key.clone()).unwrap_or_default()
}

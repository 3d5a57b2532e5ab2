//! Types that every cluster has, with OIDs fixed by pg_type.dat and pg_range.dat.

use super::model::{Align, Type, TypeKind};
use crate::pg::Oid;
use Align::{Char, Double, Int, Short};

/// Schema of all of them.
pub(super) const SCHEMA: &str = "pg_catalog";

const DELIMITER: u8 = b',';
/// box, the only one whose text has commas on its outermost level.
const DELIMITER_OF_BOX: u8 = b';';

/// Length of varlena types.
const V: i16 = -1;

struct Base {
    oid: Oid,
    name: &'static str,
    len: i16,
    align: Align,
    array: Oid,
}

struct Range {
    oid: Oid,
    name: &'static str,
    align: Align,
    subtype: Oid,
    array: Oid,
    multirange: Oid,
    multirange_name: &'static str,
    multirange_array: Oid,
}

/// Constant, OID, name, length, alignment, OID of the array type.
macro_rules! base {
    ($($constant:ident $oid:literal $name:literal $len:tt $align:ident $array:literal;)*) => {
        /// OIDs of built-in types (pg_type.dat).
        #[allow(missing_docs)]
        pub mod oid {
            use crate::pg::Oid;
            $(pub const $constant: Oid = $oid;)*
        }
        const BASE: &[Base] =
            &[$(Base { oid: $oid, name: $name, len: $len, align: $align, array: $array }),*];
    };
}

base! {
    BOOL 16 "bool" 1 Char 1000;
    BYTEA 17 "bytea" V Int 1001;
    CHAR 18 "char" 1 Char 1002;
    NAME 19 "name" 64 Char 1003;
    INT8 20 "int8" 8 Double 1016;
    INT2 21 "int2" 2 Short 1005;
    INT2VECTOR 22 "int2vector" V Int 1006;
    INT4 23 "int4" 4 Int 1007;
    REGPROC 24 "regproc" 4 Int 1008;
    TEXT 25 "text" V Int 1009;
    OID 26 "oid" 4 Int 1028;
    TID 27 "tid" 6 Short 1010;
    XID 28 "xid" 4 Int 1011;
    CID 29 "cid" 4 Int 1012;
    OIDVECTOR 30 "oidvector" V Int 1013;
    JSON 114 "json" V Int 199;
    XML 142 "xml" V Int 143;
    POINT 600 "point" 16 Double 1017;
    LSEG 601 "lseg" 32 Double 1018;
    PATH 602 "path" V Double 1019;
    BOX 603 "box" 32 Double 1020;
    POLYGON 604 "polygon" V Double 1027;
    LINE 628 "line" 24 Double 629;
    CIDR 650 "cidr" V Int 651;
    FLOAT4 700 "float4" 4 Int 1021;
    FLOAT8 701 "float8" 8 Double 1022;
    CIRCLE 718 "circle" 24 Double 719;
    MACADDR8 774 "macaddr8" 8 Int 775;
    MONEY 790 "money" 8 Double 791;
    MACADDR 829 "macaddr" 6 Int 1040;
    INET 869 "inet" V Int 1041;
    BPCHAR 1042 "bpchar" V Int 1014;
    VARCHAR 1043 "varchar" V Int 1015;
    DATE 1082 "date" 4 Int 1182;
    TIME 1083 "time" 8 Double 1183;
    TIMESTAMP 1114 "timestamp" 8 Double 1115;
    TIMESTAMPTZ 1184 "timestamptz" 8 Double 1185;
    INTERVAL 1186 "interval" 16 Double 1187;
    TIMETZ 1266 "timetz" 12 Double 1270;
    BIT 1560 "bit" V Int 1561;
    VARBIT 1562 "varbit" V Int 1563;
    NUMERIC 1700 "numeric" V Int 1231;
    REFCURSOR 1790 "refcursor" V Int 2201;
    REGPROCEDURE 2202 "regprocedure" 4 Int 2207;
    REGOPER 2203 "regoper" 4 Int 2208;
    REGOPERATOR 2204 "regoperator" 4 Int 2209;
    REGCLASS 2205 "regclass" 4 Int 2210;
    REGTYPE 2206 "regtype" 4 Int 2211;
    UUID 2950 "uuid" 16 Char 2951;
    TXID_SNAPSHOT 2970 "txid_snapshot" V Double 2949;
    PG_LSN 3220 "pg_lsn" 8 Double 3221;
    TSVECTOR 3614 "tsvector" V Int 3643;
    TSQUERY 3615 "tsquery" V Int 3645;
    REGCONFIG 3734 "regconfig" 4 Int 3735;
    REGDICTIONARY 3769 "regdictionary" 4 Int 3770;
    JSONB 3802 "jsonb" V Int 3807;
    JSONPATH 4072 "jsonpath" V Int 4073;
    REGNAMESPACE 4089 "regnamespace" 4 Int 4090;
    REGROLE 4096 "regrole" 4 Int 4097;
    REGCOLLATION 4191 "regcollation" 4 Int 4192;
    PG_SNAPSHOT 5038 "pg_snapshot" V Double 5039;
    XID8 5069 "xid8" 8 Double 271;
    OID8 6437 "oid8" 8 Double 6442;
    REGDATABASE 6490 "regdatabase" 4 Int 6491;
}

/// OID, name, alignment, subtype, OID of the array type; the multirange's OID, name and array type.
macro_rules! range {
    ($($oid:literal $name:literal $align:ident $subtype:ident $array:literal;
       $multirange:literal $multirange_name:literal $multirange_array:literal;)*) => {
        const RANGES: &[Range] = &[$(Range {
            oid: $oid, name: $name, align: $align, subtype: oid::$subtype, array: $array,
            multirange: $multirange, multirange_name: $multirange_name, multirange_array: $multirange_array,
        }),*];
    };
}

range! {
    3904 "int4range" Int INT4 3905; 4451 "int4multirange" 6150;
    3906 "numrange" Int NUMERIC 3907; 4532 "nummultirange" 6151;
    3908 "tsrange" Double TIMESTAMP 3909; 4533 "tsmultirange" 6152;
    3910 "tstzrange" Double TIMESTAMPTZ 3911; 4534 "tstzmultirange" 6153;
    3912 "daterange" Int DATE 3913; 4535 "datemultirange" 6155;
    3926 "int8range" Double INT8 3927; 4536 "int8multirange" 6157;
}

/// All of them, with their arrays.
pub(super) fn types() -> impl Iterator<Item = Type> {
    let base = BASE.iter().flat_map(|one| {
        let delimiter = if one.oid == oid::BOX { DELIMITER_OF_BOX } else { DELIMITER };
        with_array(one.oid, one.name, TypeKind::Base, one.len, one.align, delimiter, one.array)
    });
    let ranges = RANGES.iter().flat_map(|one| {
        let range = TypeKind::Range { subtype: one.subtype };
        let multirange = TypeKind::Multirange { range: one.oid };
        let range = with_array(one.oid, one.name, range, V, one.align, DELIMITER, one.array);
        let (oid, name, array) = (one.multirange, one.multirange_name, one.multirange_array);
        range.into_iter().chain(with_array(oid, name, multirange, V, one.align, DELIMITER, array))
    });
    base.chain(ranges)
}

fn with_array(
    oid: Oid,
    name: &str,
    kind: TypeKind,
    len: i16,
    align: Align,
    delimiter: u8,
    array: Oid,
) -> [Type; 2] {
    // FLOAT8PASSBYVAL holds on every machine with 64 bits
    let schema = SCHEMA.to_owned();
    let one = Type { oid, name: name.into(), schema: schema.clone(), kind, len, align, delimiter };
    let array = Type {
        oid: array,
        name: format!("_{name}"),
        schema,
        kind: TypeKind::Array { element: oid },
        len: V,
        align: if align == Double { Double } else { Int },
        delimiter,
    };
    [one, array]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_oid_stands_twice() {
        let mut seen = HashSet::new();
        assert!(types().all(|one| seen.insert(one.oid)));
        assert_eq!(seen.len(), 2 * (BASE.len() + 2 * RANGES.len()));
    }
}

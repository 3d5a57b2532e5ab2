//! Literals and identifiers in SQL.

/// Keywords of 19 that an identifier may not be without quotes (`quote_identifier`, ruleutils.c: every one that is not
/// unreserved in kwlist.h), in order.
const KEYWORDS: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "json",
    "json_array",
    "json_arrayagg",
    "json_exists",
    "json_object",
    "json_objectagg",
    "json_query",
    "json_scalar",
    "json_serialize",
    "json_table",
    "json_value",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "merge_action",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "system_user",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

/// A string literal for a server with standard_conforming_strings = on.
pub fn sql_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// An identifier, in quotes where it needs them (`quote_identifier`, ruleutils.c).
pub fn quote_ident(name: &str) -> String {
    let letter = |c: char| matches!(c, 'a'..='z' | '_');
    let plain = name.starts_with(letter)
        && name.chars().all(|c| letter(c) || c.is_ascii_digit())
        && KEYWORDS.binary_search(&name).is_err();
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_in_order() {
        assert!(KEYWORDS.is_sorted());
    }

    #[test]
    fn only_what_needs_quotes_gets_them() {
        for (name, quoted) in [
            ("accounts", "accounts"),
            ("_x9", "_x9"),
            ("9x", "\"9x\""),
            ("", "\"\""),
            ("Mixed", "\"Mixed\""),
            ("a b", "\"a b\""),
            ("größe", "\"größe\""),
            ("a\"b", "\"a\"\"b\""),
            ("select", "\"select\""),
            ("int", "\"int\""),
            ("value", "value"),
        ] {
            assert_eq!(quote_ident(name), quoted);
        }
    }

    #[test]
    fn a_literal_doubles_quotes_and_nothing_else() {
        assert_eq!(sql_literal("it's a \\ and a\nline"), "'it''s a \\ and a\nline'");
        assert_eq!(sql_literal(""), "''");
    }
}

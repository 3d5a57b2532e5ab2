//! Rows read from heap files equal what the server said of them while it ran: every type, every major.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/values.rs"]
mod values;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use common::client::Running;
use common::{Server, give_away};
use forkpoint::pg::page::{Page, PageBytes};
use forkpoint::pg::{BLOCK_SIZE, Major, Oid};
use forkpoint::rows::tuple::missing_value;
use forkpoint::rows::{
    Align, Column, Datum, Settings, ToastPointer, ToastSource, Type, TypeKind, Types, Untextable, columns,
    quote_ident, sql_literal, text,
};
use jiff::tz::TimeZone;
use values::Built;

/// Zones in which every table with a time of one is printed.
const ZONES: [&str; 5] = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Africa/Monrovia"];

/// Rows of COPY's text format; `None` for NULL.
fn copied(path: &Path) -> Vec<Vec<Option<String>>> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let field = |field: &str| {
        if field == "\\N" {
            return None;
        }
        let mut plain = String::new();
        let mut chars = field.chars();
        while let Some(c) = chars.next() {
            plain.push(match c {
                '\\' => match chars.next().unwrap() {
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\u{b}',
                    other => other,
                },
                c => c,
            });
        }
        Some(plain)
    };
    text.lines().map(|line| line.split('\t').map(field).collect()).collect()
}

/// What the catalog says, asked for in SQL.
struct Catalog {
    types: Types,
    columns: HashMap<Oid, Vec<Column>>,
    /// OID, file, TOAST table's OID of each relation.
    relations: BTreeMap<String, (Oid, PathBuf, Oid)>,
    files: HashMap<Oid, PathBuf>,
}

/// Asks for the catalogs' rows into files of `dir`.
fn catalog_queries(dir: &Path, major: Major) -> Vec<String> {
    let generated = if major >= Major::V12 { "attgenerated" } else { "''" };
    let multiranges = if major >= Major::V14 {
        "SELECT rngmultitypid, rngtypid FROM pg_range"
    } else {
        "SELECT 0, 0 WHERE false"
    };
    let queries = [
        (
            "relations",
            "SELECT relname, oid, pg_relation_filepath(oid), reltoastrelid FROM pg_class WHERE relkind IN ('r', 't')"
                .to_owned(),
        ),
        (
            "attributes",
            format!(
                "SELECT attrelid, attnum, attname, atttypid, atttypmod, attlen, attalign, attisdropped, \
                 {generated} FROM pg_attribute WHERE attnum > 0 ORDER BY attrelid, attnum"
            ),
        ),
        (
            "types",
            "SELECT t.oid, typname, nspname, typtype, typlen, typalign, typdelim, typelem, typbasetype, \
             typtypmod, typrelid FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace"
                .to_owned(),
        ),
        ("ranges", "SELECT rngtypid, rngsubtype FROM pg_range".to_owned()),
        ("multiranges", multiranges.to_owned()),
        ("enums", "SELECT enumtypid, oid, enumlabel FROM pg_enum".to_owned()),
    ];
    queries.iter().map(|(name, query)| format!("COPY ({query}) TO '{}'", dir.join(name).display())).collect()
}

impl Catalog {
    fn read(dir: &Path, data: &Path, major: Major) -> Self {
        let table = |name: &str| -> Vec<Vec<String>> {
            copied(&dir.join(name))
                .into_iter()
                .map(|row| row.into_iter().map(Option::unwrap_or_default).collect())
                .collect()
        };
        let number = |text: &String| text.parse::<i64>().unwrap();
        let oid = |text: &String| text.parse::<Oid>().unwrap();
        let align = |text: &String| Align::from_letter(text.as_bytes()[0]).unwrap();
        let mut columns: HashMap<Oid, Vec<Column>> = HashMap::new();
        for row in table("attributes") {
            columns.entry(oid(&row[0])).or_default().push(Column {
                name: row[2].clone(),
                number: number(&row[1]) as i16,
                type_oid: oid(&row[3]),
                typmod: number(&row[4]) as i32,
                len: number(&row[5]) as i16,
                align: align(&row[6]),
                not_null: false,
                dropped: row[7] == "t",
                generated: !row[8].is_empty(),
                virtual_: row[8] == "v",
                identity: None,
                missing: None,
            });
        }
        let mut relations = BTreeMap::new();
        let mut files = HashMap::new();
        for row in table("relations").iter().filter(|row| !row[2].is_empty()) {
            let path = data.join(&row[2]);
            files.insert(oid(&row[1]), path.clone());
            relations.insert(row[0].clone(), (oid(&row[1]), path, oid(&row[3])));
        }
        let mut catalog = Self { types: Types::builtin(), columns, relations, files };
        catalog.read_missing();
        let pairs =
            |name| -> HashMap<Oid, Oid> { table(name).iter().map(|r| (oid(&r[0]), oid(&r[1]))).collect() };
        let (ranges, multiranges, enums) = (pairs("ranges"), pairs("multiranges"), table("enums"));
        for row in table("types") {
            let type_oid = oid(&row[0]);
            let kind = match row[3].as_str() {
                "e" => TypeKind::Enum(
                    enums.iter().filter(|e| e[0] == row[0]).map(|e| (oid(&e[1]), e[2].clone())).collect(),
                ),
                "d" => TypeKind::Domain { base: oid(&row[8]), typmod: number(&row[9]) as i32 },
                "c" => TypeKind::Composite(catalog.columns.get(&oid(&row[10])).cloned().unwrap_or_default()),
                "r" => TypeKind::Range { subtype: ranges[&type_oid] },
                "m" => TypeKind::Multirange { range: multiranges[&type_oid] },
                "b" if row[7] != "0"
                    && row[4] == "-1"
                    && !["int2vector", "oidvector"].contains(&row[1].as_str()) =>
                {
                    TypeKind::Array { element: oid(&row[7]) }
                }
                "b" => TypeKind::Base,
                _ => continue,
            };
            let one = Type {
                oid: type_oid,
                name: row[1].clone(),
                schema: row[2].clone(),
                kind,
                len: number(&row[4]) as i16,
                align: align(&row[5]),
                delimiter: row[6].as_bytes()[0],
            };
            match catalog.types.get(type_oid) {
                // the built-in table is right
                Some(known) => {
                    // 9.5 to 17 and later majors differ in nothing but these
                    assert_eq!(*known, one, "PostgreSQL {major}");
                }
                None => catalog.types.add(one),
            }
        }
        catalog
    }

    /// `attmissingval` from the heap file of pg_attribute itself.
    fn read_missing(&mut self) {
        let own = self.relations["pg_attribute"].clone();
        let layout = self.columns[&own.0].clone();
        let place = |name: &str| layout.iter().position(|column| column.name == name);
        let Some(missing) = place("attmissingval") else { return };
        let (relation, number) = (place("attrelid").unwrap(), place("attnum").unwrap());
        let mut found = Vec::new();
        for tuple in tuples(&own.1) {
            let values = columns(&tuple, &layout);
            let plain = |n: usize| match &values[n] {
                Datum::Plain(bytes) => bytes.clone().into_owned(),
                other => panic!("{other:?}"),
            };
            if let Datum::Plain(array) = &values[missing] {
                let relation = u32::from_le_bytes(plain(relation).try_into().unwrap());
                let number = i16::from_le_bytes(plain(number).try_into().unwrap());
                found.push((relation, number, array.clone().into_owned()));
            }
        }
        for (relation, number, array) in found {
            let column = &mut self.columns.get_mut(&relation).unwrap()[number as usize - 1];
            column.missing = Some(missing_value(&array, column).unwrap());
        }
    }
}

/// Every tuple of a relation, segment after segment.
fn tuples(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut found = Vec::new();
    for block in bytes.as_chunks::<BLOCK_SIZE>().0 {
        let block: &PageBytes = block;
        if let Some(page) = Page::read(block).unwrap() {
            found.extend(page.items().map(|(_, item)| item.to_vec()));
        }
    }
    found
}

/// The chunks of a TOAST table.
struct Chunks(HashMap<Oid, Vec<(i32, Vec<u8>)>>);

impl Chunks {
    fn read(catalog: &Catalog, table: Oid) -> Self {
        let mut chunks: HashMap<Oid, Vec<(i32, Vec<u8>)>> = HashMap::new();
        if table != 0 {
            for tuple in tuples(&catalog.files[&table]) {
                let values = columns(&tuple, &catalog.columns[&table]);
                let [Datum::Plain(id), Datum::Plain(number), Datum::Plain(data)] = &values[..] else {
                    panic!("{values:?}")
                };
                let id = u32::from_le_bytes(id.as_ref().try_into().unwrap());
                let number = i32::from_le_bytes(number.as_ref().try_into().unwrap());
                chunks.entry(id).or_default().push((number, data.clone().into_owned()));
            }
        }
        Self(chunks)
    }
}

impl ToastSource for Chunks {
    fn fetch(&mut self, pointer: &ToastPointer) -> Result<Vec<u8>, String> {
        pointer.assemble(self.0.get(&pointer.value).ok_or("no chunk of it")?.clone())
    }
}

/// How a table's values are stored, counted.
#[derive(Debug, Default)]
struct Seen {
    cells: usize,
    nulls: usize,
    missing: usize,
    external: usize,
    methods: BTreeSet<(u32, bool)>,
}

/// Compares every cell of a table; the first column is a number that no two rows share.
fn compare(
    catalog: &Catalog,
    table: &str,
    expected: &[Vec<Option<String>>],
    settings: &Settings,
    seen: &mut Seen,
) {
    let (relation, path, toast_table) = &catalog.relations[table];
    let layout = &catalog.columns[relation];
    let mut toast = Chunks::read(catalog, *toast_table);
    let what = format!("PostgreSQL {}, table {table}", settings.major);
    let expected: HashMap<&str, &Vec<Option<String>>> =
        expected.iter().map(|row| (row[0].as_deref().unwrap(), row)).collect();
    let found = tuples(path);
    assert_eq!(found.len(), expected.len(), "{what}");
    for tuple in &found {
        let values = columns(tuple, layout);
        assert_eq!(values.len(), layout.len());
        let live: Vec<_> = layout.iter().zip(values).filter(|(column, _)| !column.dropped).collect();
        let mut row = Vec::new();
        for (column, value) in live {
            seen.cells += 1;
            match &value {
                Datum::Null => seen.nulls += 1,
                Datum::Missing => seen.missing += 1,
                Datum::External(pointer) => {
                    seen.external += 1;
                    seen.methods.insert((pointer.method, pointer.compressed()));
                }
                _ => {}
            }
            let bytes = value.bytes(&mut toast).unwrap_or_else(|e| panic!("{what}: {}: {e}", column.name));
            row.push(bytes.map(|bytes| {
                text(column.type_oid, &bytes, &catalog.types, settings)
                    .unwrap_or_else(|e| panic!("{what}: {}: {row:?}: {e}", column.name))
            }));
        }
        let id = row[0].as_deref().unwrap();
        let wanted = expected.get(id).unwrap_or_else(|| panic!("{what}: no row {id}"));
        for (n, (ours, theirs)) in row.iter().zip(*wanted).enumerate() {
            let short =
                |text: &Option<String>| text.as_ref().map(|t| t.chars().take(500).collect::<String>());
            assert!(ours == theirs, "{what}, row {id}, column {n}:\n{:?}\n{:?}", short(ours), short(theirs));
        }
        assert_eq!(row.len(), wanted.len(), "{what}");
    }
}

/// Set to a directory, the test writes `MAJOR.tsv` there for majors 11 and 18: the type's OID, the value's bytes, and the
/// text that the server gave, of some short values of every built-in type.
const RECORD: &str = "FORKPOINT_RECORD_ROWS";

/// As COPY writes a field.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c => out.push(c),
        }
    }
    out
}

fn record(to: &Path, catalog: &Catalog, tables: &[String], copy: impl Fn(&str) -> PathBuf, major: Major) {
    /// Values of a type, and their longest length in bytes.
    const SOME: (usize, usize) = (10, 60);
    let mut lines = String::new();
    for table in
        tables.iter().filter(|table| table.strip_prefix('t').is_some_and(|n| n.parse::<u32>().is_ok()))
    {
        let (relation, path, _) = &catalog.relations[table];
        let rows = copied(&copy(table));
        let layout = &catalog.columns[relation];
        for (place, kept) in [(2, SOME.0), (4, 2)] {
            let type_oid = layout[place].type_oid;
            if Types::builtin().get(type_oid).is_none() {
                continue;
            }
            let mut count = 0;
            for tuple in tuples(path) {
                let values = columns(&tuple, layout);
                let (Datum::Plain(id), Datum::Plain(bytes)) = (&values[0], &values[place]) else { continue };
                let id = i32::from_le_bytes(id.as_ref().try_into().unwrap()).to_string();
                let row = rows.iter().find(|row| row[0].as_ref() == Some(&id)).unwrap();
                if bytes.len() <= SOME.1 && count < kept {
                    let mut hex = String::new();
                    bytes.iter().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
                    let text = escaped(row[place].as_deref().unwrap());
                    lines.push_str(&[&type_oid.to_string(), &hex, &text].map(|f| f as &str).join("\t"));
                    lines.push('\n');
                    count += 1;
                }
            }
        }
    }
    fs::write(to.join(format!("{major}.tsv")), lines).unwrap();
}

#[test]
fn recorded_values() {
    let (types, mut seen) = (Types::builtin(), 0);
    for major in [Major::V11, Major::V18] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/rows/{major}.tsv"));
        let settings = settings(major, "UTC");
        for row in copied(&path) {
            let [Some(oid), Some(hex), Some(expected)] = &row[..] else { panic!("{row:?}") };
            let oid = oid.parse().unwrap();
            let byte = |n: usize| u8::from_str_radix(&hex[n..n + 2], 16).unwrap();
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
            assert_eq!(text(oid, &bytes, &types, &settings).as_ref(), Ok(expected), "{major}: {row:?}");
            seen += 1;
        }
    }
    assert!(seen > 700, "{seen}");
}

fn settings(major: Major, zone: &str) -> Settings {
    Settings { major, time_zone: TimeZone::get(zone).unwrap() }
}

#[test]
fn every_cell_is_what_the_server_says() {
    let servers: Vec<Server> = common::installed()
        .into_iter()
        .filter(|server| Major::from_pg_version(&server.major).is_some_and(|major| major >= Major::V10))
        .collect();
    common::ran_with("every_cell_is_what_the_server_says", &servers);
    for server in &servers {
        one_major(server);
    }
}

fn one_major(server: &Server) {
    let major = Major::from_pg_version(&server.major).unwrap();
    let out = common::scratch();
    let dir = out.path();
    give_away(dir);
    let built = built(server, major);
    let mut script = values::types_to_make(major);
    for (extension, there) in [("citext", built.citext), ("hstore", built.hstore)] {
        script.extend(there.then(|| format!("CREATE EXTENSION {extension}")));
    }
    script.extend(values::special_tables(major, &built));
    let all = values::of_types(major, &built);
    for (n, (name, literals)) in all.iter().enumerate() {
        let (array, array_type) = values::array_of(name, major);
        script.push(format!("CREATE TYPE c{n} AS (k \"char\", v {name}, n int2)"));
        script.push(format!(
            "CREATE TABLE t{n} (id int4, pad text, v {name}, flag bool, a {array_type}, c c{n}, cs c{n}[])"
        ));
        for (part, literals) in literals.chunks(1000).enumerate() {
            let row = |(id, literal)| format!("({}, {literal}::{name})", part * 1000 + id);
            let rows: Vec<String> = literals.iter().enumerate().map(row).collect();
            script.push(format!(
                "INSERT INTO t{n} SELECT id, repeat('p', id % 9), v, id % 2 = 0, {array}, ROW('k', v, id)::c{n}, \
                 ARRAY[ROW(NULL, v, id)::c{n}] FROM (VALUES {}) AS data (id, v)",
                rows.join(",\n")
            ));
        }
    }
    let special = values::SPECIAL_TABLES.into_iter().map(str::to_owned);
    let made = |table: &String| script.iter().any(|line| line.starts_with(&format!("CREATE TABLE {table} ")));
    let tables: Vec<String> = (0..all.len()).map(|n| format!("t{n}")).chain(special.filter(made)).collect();
    script.push("VACUUM pg_attribute".into());
    script.extend(catalog_queries(dir, major));
    script.extend(quoting_queries(dir));
    let copy = |table: &str, zone: &str| dir.join(format!("{table}.{}", zone.replace('/', "-")));
    for zone in ZONES {
        script.push(format!("SET timezone = '{zone}'"));
        for table in tables.iter().filter(|table| zone == ZONES[0] || uses_zone(table, &all)) {
            script.push(format!("COPY {table} TO '{}'", copy(table, zone).display()));
        }
    }
    let mut running = Running::start(server, &["synchronize_seqscans=off", "autovacuum=off"]);
    running.run(&script);
    running.stop();
    let catalog = Catalog::read(dir, &running.data(), major);
    if let Some(to) = std::env::var_os(RECORD).filter(|_| [Major::V11, Major::V18].contains(&major)) {
        record(Path::new(&to), &catalog, &tables, |table| copy(table, ZONES[0]), major);
    }
    quoting(dir, major);
    let mut seen = Seen::default();
    for zone in ZONES {
        let settings = settings(major, zone);
        for table in &tables {
            let file = copy(table, zone);
            if file.exists() {
                compare(&catalog, table, &copied(&file), &settings, &mut seen);
            }
        }
    }
    println!("PostgreSQL {major}: {} types, {} tables, {built:?}, {seen:?}", all.len(), tables.len());
    assert!(seen.cells > 50_000 && seen.nulls > 100 && seen.missing > 0 && seen.external > 20, "{seen:?}");
    // compressed and plain; LZ4 too where there is
    let wanted = if built.lz4 { 3 } else { 2 };
    assert!(seen.methods.len() >= wanted, "{major}: {:?}", seen.methods);
    not_read(&catalog, major);
}

/// Names and texts as the server quotes them.
fn quoting_queries(dir: &Path) -> [String; 2] {
    let texts = [
        "",
        "a",
        "A",
        "a b",
        "it''s",
        "a\"b",
        "_a1",
        "1a",
        "a$",
        "größe",
        "''''",
        "a.b",
        "line\nbreak",
        "x''y''",
    ];
    let values: Vec<String> = texts.iter().map(|text| format!("('{text}')")).collect();
    [
        format!(
            "COPY (SELECT word, quote_ident(word) FROM pg_get_keywords()) TO '{}'",
            dir.join("keywords").display()
        ),
        format!(
            "COPY (SELECT t, quote_ident(t), quote_literal(t) FROM (VALUES {}) AS data (t)) TO '{}'",
            values.join(", "),
            dir.join("texts").display()
        ),
    ]
}

fn quoting(dir: &Path, major: Major) {
    let mut seen = 0;
    for row in copied(&dir.join("keywords")) {
        let (word, theirs) = (row[0].as_deref().unwrap(), row[1].as_deref().unwrap());
        // the words of 19; older majors may need quotes for fewer
        let fewer = major < Major::V19 && theirs == word;
        assert!(fewer || quote_ident(word) == theirs, "PostgreSQL {major}: {word}, {theirs}");
        seen += 1;
    }
    for row in copied(&dir.join("texts")) {
        let [Some(text), Some(ident), Some(literal)] = &row[..] else { panic!("{row:?}") };
        assert_eq!((&quote_ident(text), &sql_literal(text)), (ident, literal));
        seen += 1;
    }
    assert!(seen > 400, "{seen}");
}

/// By the symbols that the server is linked with, and by the extensions that lie with it.
fn built(server: &Server, major: Major) -> Built {
    let program = fs::read(server.bin.join("postgres")).unwrap();
    let has = |symbol: &str| program.windows(symbol.len()).any(|window| window == symbol.as_bytes());
    let home = server.bin.parent().unwrap();
    let shares = ["share/postgresql".to_owned(), "share".to_owned(), format!("usr/share/postgresql/{major}")];
    let extension = |name: &str| {
        shares.iter().any(|share| home.join(share).join(format!("extension/{name}.control")).exists())
    };
    Built {
        lz4: major >= Major::V14 && has("LZ4_compress_default"),
        xml: has("xmlInitParser"),
        citext: extension("citext"),
        hstore: extension("hstore"),
    }
}

fn uses_zone(table: &str, all: &[(String, Vec<String>)]) -> bool {
    let number = table.strip_prefix('t').and_then(|n| n.parse::<usize>().ok());
    number.is_none_or(|n| all[n].0.contains("timestamptz") || all[n].0.contains("tstz"))
}

/// Types that have no text here say their name.
fn not_read(catalog: &Catalog, major: Major) {
    let settings = settings(major, "UTC");
    for (name, oid) in [("tsquery", 3615), ("regclass", 2205), ("aclitem", 1033)] {
        let len = catalog.types.get(oid).unwrap().len;
        let bytes = vec![0; len.max(4) as usize];
        let told = text(oid, &bytes, &catalog.types, &settings);
        assert_eq!(told, Err(Untextable::Type(name.into())));
    }
}

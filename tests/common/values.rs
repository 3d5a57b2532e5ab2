//! Values of every type, as SQL.

use forkpoint::pg::Major;

/// Tables beside those of one type.
pub const SPECIAL_TABLES: [&str; 6] = ["evolved", "toasted", "stored_lz4", "wide", "with_oids", "composites"];

fn quoted(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect()
}

/// Repeatable pseudo-random numbers (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Statements that make the cluster's own types.
pub fn types_to_make(major: Major) -> Vec<String> {
    let mut all: Vec<String> = [
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s \"so, so\"', 'null', 'größer')",
        "CREATE DOMAIN price AS numeric(12, 2)",
        "CREATE DOMAIN short_text AS varchar(20)",
        "CREATE TYPE textrange AS RANGE (subtype = text)",
        "CREATE TYPE floatrange AS RANGE (subtype = float8)",
        "CREATE TYPE charrange AS RANGE (subtype = \"char\")",
        "CREATE TYPE inner_c AS (a int, b text)",
        "CREATE TYPE outer_c AS (x inner_c, y inner_c[], z textrange, d price, e mood)",
        "CREATE TYPE evolving AS (a int, gone text, b text)",
        "CREATE TYPE empty_c AS ()",
    ]
    .map(str::to_owned)
    .to_vec();
    if major >= Major::V11 {
        all.push("CREATE DOMAIN prices AS price[]".into());
        all.push("CREATE DOMAIN dom_c AS inner_c".into());
    }
    all
}

fn floats() -> Vec<String> {
    let mut random = Random(1);
    let mut all =
        quoted(&["NaN", "Infinity", "-Infinity", "0", "-0", "1", "-1", "0.1", "123456789012345678"]);
    let mut push = |value: f64| all.push(format!("'{value:e}'"));
    for power in -1074..1024 {
        push(2f64.powi(power / 2) * 2f64.powi(power - power / 2));
    }
    for power in -323..=308 {
        for digit in 1..10 {
            push(format!("{digit}e{power}").parse::<f64>().unwrap().min(f64::MAX));
        }
    }
    for n in 0..3000 {
        let value = f64::from_bits(random.next());
        if value.is_finite() {
            push(value);
        }
        // few digits, around the places where exponents begin
        push(random.below(1_000_000) as f64 * 10f64.powi(n % 40 - 20));
        push(random.next() as f64);
        // large integers, where half-way decimals are many
        push((random.next() >> 10) as f64 * 2f64.powi(n % 80));
    }
    all
}

fn singles() -> Vec<String> {
    let mut random = Random(2);
    let mut all = quoted(&["NaN", "Infinity", "-Infinity", "0", "-0", "1", "0.1", "16777216", "33554430"]);
    let mut push = |value: f32| all.push(format!("'{value:e}'"));
    for exponent in 0..255 {
        push(f32::from_bits((exponent << 23).max(1)));
        push(f32::from_bits(exponent << 23 | 1));
    }
    for power in -44..=38 {
        for digit in 1..10 {
            push(format!("{digit}e{power}").parse::<f32>().unwrap().clamp(1e-45, f32::MAX));
        }
    }
    for n in 0..4000 {
        let value = f32::from_bits(random.next() as u32);
        if value.is_finite() {
            push(value);
        }
        push(random.below(100_000) as f32 * 10f32.powi(n % 20 - 10));
        push((random.next() >> 40) as f32 * 2f32.powi(n % 60));
    }
    all
}

fn numerics(major: Major) -> Vec<String> {
    let mut all = quoted(&[
        "0",
        "0.0",
        "0.00000",
        "1",
        "-1",
        "10",
        "9999",
        "10000",
        "-10000.5",
        "0.1",
        "0.0001",
        "0.00001",
        "1e100",
        "-1e-100",
        "123456789.987654321",
        "NaN",
        "1e1000",
        "0.00000000000000000000000000000000001",
        "100000000",
        "1e63",
        "1e64",
        "99999999999999999999.0000",
        "-0.5",
    ]);
    if major >= Major::V14 {
        all.extend(quoted(&["Infinity", "-Infinity"]));
    }
    let mut random = Random(3);
    for _ in 0..1500 {
        let mut text = String::from(if random.below(2) == 0 { "" } else { "-" });
        for _ in 0..=random.below(40) {
            text.push(char::from(b'0' + random.below(10) as u8));
        }
        if random.below(3) > 0 {
            text.push('.');
            for _ in 0..=random.below(30) {
                text.push(char::from(b'0' + (random.below(14) as u8).min(10) % 10));
            }
        }
        all.push(format!("'{text}'"));
    }
    all.push("(repeat('1234567890', 400) || '.' || repeat('09', 300))".into());
    all
}

fn timestamps(first: &[&str]) -> Vec<String> {
    let mut all = quoted(first);
    let mut random = Random(4);
    for _ in 0..1200 {
        // 4713 BC to 294276
        let seconds = random.below(9_200_000_000_000 + 210_000_000_000) as i64 - 210_000_000_000;
        let micros = if random.below(2) == 0 { 0 } else { random.below(1_000_000) };
        all.push(format!("(timestamptz '2000-01-01 00:00+00' + make_interval(secs => {seconds}) + {micros} * interval '1 us')"));
        let near = random.below(8_000_000_000) as i64 - 5_000_000_000;
        all.push(format!("(timestamptz '2000-01-01 00:00+00' + make_interval(secs => {near}))"));
    }
    all
}

fn intervals(major: Major) -> Vec<String> {
    let mut all = quoted(&[
        "0",
        "1 day",
        "-1 day",
        "1 mon",
        "-1 mon",
        "1 year",
        "14 mons",
        "-14 mons",
        "1 day -01:00:00",
        "-1 day 01:00:00",
        "-1 mon 1 day",
        "1 mon -1 day 00:00:01",
        "-1 year 1 mon -1 day +1 us",
        "00:00:00.000001",
        "-00:00:00.1",
        "100000000:00:00",
        "178000000 years",
        "-178000000 years",
        "2147483647 days",
        "1.5 s",
        "-00:00:01",
        "-00:01:01",
        "1 year 2 mons 3 days 04:05:06.789",
    ]);
    if major >= Major::V17 {
        all.extend(quoted(&["infinity", "-infinity"]));
    }
    let mut random = Random(5);
    for _ in 0..500 {
        let mut part = |most: u64| {
            if random.below(3) == 0 { 0 } else { random.below(2 * most) as i64 - most as i64 }
        };
        let (months, days, micros) = (part(100), part(100), part(2_000_000_000));
        all.push(format!("'{months} mons {days} days {micros} us'"));
    }
    all
}

fn jsons() -> Vec<&'static str> {
    vec![
        "{}",
        "[]",
        "null",
        "true",
        "false",
        "0",
        "-1.50",
        "1e5",
        "\"\"",
        "\"a\"",
        "[1]",
        "[[]]",
        "[{}]",
        "[null,true,false]",
        r#"{"a":1,"b":[1,2,{"c":null}],"longer key":"value","":""}"#,
        r#"{"quote":"\"","back":"\\","slash":"\/","control":"\u0001\u001f\b\f\n\r\t","del":"\u007f","uni":"\u00e9\u20ac\ud83d\ude00"}"#,
        r#"[[1,[2,[3,[4,[5.5,"x"]]]]],{"a":{"b":{"c":{"d":[]}}}}]"#,
        r#"["x",1,"xx",2,"xxx",3,"xxxx",4,{"k":"v"},5,"xxxxx",[6]]"#,
        r#"{"n":123456789012345678901234567890.123456789, "s":0.00000001, "t": 1e-7}"#,
    ]
}

/// The expression for an array of values `v`, and its type: domains have arrays from 11 on.
pub fn array_of(name: &str, major: Major) -> (String, String) {
    if major < Major::V11 && ["price", "short_text"].contains(&name) {
        ("ARRAY[v::text, 'x']".into(), "text[]".into())
    } else if name.ends_with("vector") && name != "tsvector" {
        // that type counts as an array itself
        (format!("ARRAY[v::text, NULL, v::text]::{name}[]"), format!("{name}[]"))
    } else if name.ends_with("[]") {
        ("ARRAY[v, v]".into(), name.into())
    } else {
        (format!("ARRAY[v, NULL, v]::{name}[]"), format!("{name}[]"))
    }
}

/// What not every server has been built with.
#[derive(Debug, Default)]
pub struct Built {
    pub lz4: bool,
    pub xml: bool,
    pub citext: bool,
    pub hstore: bool,
}

/// Types with literals (or expressions) of their values.
pub fn of_types(major: Major, built: &Built) -> Vec<(String, Vec<String>)> {
    let texts = [
        "",
        " ",
        "a",
        "NULL",
        "null",
        "it's",
        "a\"b",
        "a\\b",
        "a,b",
        "{a}",
        "(a)",
        "[a]",
        "a b",
        " lead",
        "trail ",
        "tab\there",
        "line\nbreak",
        "return\rhere",
        "größe €",
        "😀",
        "\u{1}",
        "\\N",
        "\\.",
        "x;y",
        "\u{b}\u{c}",
        "p|q",
        "a much longer text that has no short header any more because it is more than one hundred and twenty-six bytes long, is it not?",
    ];
    let mut all: Vec<(&str, Vec<String>)> = vec![
        ("bool", quoted(&["t", "f"])),
        ("int2", quoted(&["0", "1", "-1", "32767", "-32768"])),
        ("int4", quoted(&["0", "1", "-1", "2147483647", "-2147483648"])),
        ("int8", quoted(&["0", "1", "-1", "9223372036854775807", "-9223372036854775808"])),
        ("float4", singles()),
        ("float8", floats()),
        ("numeric", numerics(major)),
        ("numeric(20,5)", quoted(&["0", "1", "-123.45678", "99999999999999.99999", "NaN"])),
        ("text", quoted(&texts)),
        ("varchar(200)", quoted(&texts)),
        ("char(5)", quoted(&["", "a", "abcde", "a b", "äö", "\"", "NULL"])),
        ("\"char\"", if major >= Major::V16 {
            quoted(&["", "a", " ", "\"", "\\", ",", "\\200", "\\377", "\t"])
        } else {
            quoted(&["", "a", " ", "\"", "\\", ",", "\t"])
        }),
        ("name", quoted(&["", "a", "a name", "größe", "a_name_of_sixty_three_bytes_which_is_the_longest_that_there_can_be_"])),
        ("bytea", quoted(&["", "\\x", "\\x00", "\\x00ff10", "\\xdeadbeef0123456789abcdef"])),
        ("date", quoted(&[
            "2000-01-01", "1999-12-31", "2024-02-29", "1900-02-28", "0001-01-01", "0001-12-31 BC", "4714-11-24 BC",
            "0044-03-15 BC", "9999-12-31", "10000-01-01", "5874897-12-31", "infinity", "-infinity",
        ])),
        ("time", quoted(&["00:00", "24:00", "12:34:56", "12:34:56.7", "23:59:59.999999", "00:00:00.000001"])),
        ("timetz", quoted(&[
            "00:00+00", "24:00-12", "12:34:56.7+05:30", "23:59:59.999999-15:59:59", "01:02:03+15:59", "12:00-00:30",
        ])),
        ("timestamp", timestamps(&[
            "infinity", "-infinity", "2000-01-01", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999", "0001-01-01 00:00:00",
            "0001-12-31 23:59:59.5 BC", "1999-12-31 23:59:59.999999", "2024-02-29 12:00:00.1", "10000-01-01 00:00:00",
        ]).into_iter().map(|t| if t.starts_with('(') { format!("({t} AT TIME ZONE 'UTC')") } else { t }).collect()),
        ("timestamptz", timestamps(&[
            "infinity", "-infinity", "2000-01-01 00:00+00", "4714-11-24 12:00:00+00 BC", "294276-12-31 12:59:59.999999+00",
            "1883-11-18 12:00+00", "1893-03-31 23:00+00", "1971-12-31 23:59:59+00", "1972-01-07 00:44:29+00", "2024-03-31 00:59:59.999999+00",
            "2024-03-31 01:00+00", "2024-10-27 00:59:59+00", "2024-10-27 01:00+00", "2500-07-01 00:00+00", "9999-12-31 23:59:59+00",
            "10000-01-01 00:00+00", "12000-07-01 00:00+00", "0001-01-01 00:00+00",
        ])),
        ("interval", intervals(major)),
        ("uuid", quoted(&["00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ffffffff-ffff-ffff-ffff-ffffffffffff"])),
        ("json", quoted(&jsons()).into_iter().chain(quoted(&["  { \"spaces\" : [ 1 , 2 ] }  "])).collect()),
        ("jsonb", quoted(&jsons()).into_iter().chain([
            "(SELECT jsonb_object_agg('key' || i, CASE i % 4 WHEN 0 THEN to_jsonb(i) WHEN 1 THEN to_jsonb('v' || i) WHEN 2 THEN '[1, \"x\"]' ELSE 'null' END) FROM generate_series(1, 200) i)".to_owned(),
            "(SELECT jsonb_agg(CASE i % 5 WHEN 0 THEN to_jsonb(i / 3.0) WHEN 1 THEN to_jsonb(repeat('s', i)) WHEN 2 THEN '{\"a\": [true, {}]}' ELSE 'false' END) FROM generate_series(1, 150) i)".to_owned(),
            "(repeat('[', 1500) || repeat(']', 1500))".to_owned(),
            "(repeat('{\"a\":', 700) || '1' || repeat('}', 700))".to_owned(),
        ]).collect()),
        ("inet", quoted(&[
            "0.0.0.0", "127.0.0.1", "192.168.1.5/24", "10.0.0.0/8", "255.255.255.255/0", "::", "::1", "::1/64", "::/0", "fe80::1",
            "2001:db8::1:0:0:1", "2001:0:0:1::1", "1:2:3:4:5:6:7:8", "1:0:2:0:3:0:4:0", "::ffff:1.2.3.4", "::1.2.3.4", "::ffff:0:1.2.3.4",
            "0:0:0:0:0:0:1:1", "::2", "::1:0", "1::", "1:2:3:4:5:6:7:0", "1:2:3:4:5:6:0:0", "0:1:2:3:4:5:6:7", "::ffff:0:0/96", "::fffe:1.2.3.4",
        ])),
        ("cidr", quoted(&["0.0.0.0/0", "10.0.0.0/8", "192.168.1.0/24", "192.168.1.1/32", "::/0", "::1/128", "2001:db8::/32", "::ffff:1.2.3.0/120"])),
        ("macaddr", quoted(&["00:00:00:00:00:00", "08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"])),
        ("macaddr8", quoted(&["08:00:2b:01:02:03:04:05", "ff:ff:ff:ff:ff:ff:ff:ff"])),
        ("oid", quoted(&["0", "1", "4294967295"])),
        ("xid", quoted(&["0", "3", "4294967295"])),
        ("cid", quoted(&["0", "4294967295"])),
        ("tid", quoted(&["(0,0)", "(4294967295,65535)", "(65536,1)"])),
        ("pg_lsn", quoted(&["0/0", "0/1", "16/B374D848", "FFFFFFFF/FFFFFFFF"])),
        ("txid_snapshot", quoted(&["10:20:10,14,15", "1:1:"])),
        ("money", quoted(&["0", "0.01", "-0.01", "1", "12.34", "999.99", "1000", "-1234567.89", "92233720368547758.07", "-92233720368547758.08"])),
        ("bit(5)", quoted(&["00000", "11111", "10101"])),
        ("bit(17)", quoted(&["10101010101010101"])),
        ("varbit", quoted(&["", "0", "1", "10101010", "101010101"])),
        ("point", quoted(&["(0,0)", "(-1.5,1e300)", "(NaN,Infinity)", "(0.1,-0)"])),
        ("lseg", quoted(&["[(0,0),(1,2.5)]"])),
        ("box", quoted(&["(0,0),(1,2.5)", "(-1e-10,5),(3,4)"])),
        ("path", quoted(&["((0,0),(1,1),(2,0))", "[(0,0),(1.25,1)]", "((1,1))"])),
        ("polygon", quoted(&["((0,0),(1,1),(2,0))", "((1,1))"])),
        ("line", quoted(&["{1,2,3}", "{-1,0,0.5}"])),
        ("circle", quoted(&["<(1,2),3>", "<(0.1,-5),0>"])),
        ("int2vector", quoted(&["", "1", "1 -2 3"])),
        ("oidvector", quoted(&["", "1", "1 4294967295 3"])),
        ("tsvector", quoted(&["", "a", "a:1 fat:2A,3B cat:4C rat:5D,16383", "'it''s':1 'back\\\\slash':2", "'two words' 'größe'"])),
        ("refcursor", quoted(&["", "cursor 1"])),
        ("mood", quoted(&["sad", "ok", "it's \"so, so\"", "null", "größer"])),
        ("price", quoted(&["0", "-12.5", "9999999999.99"])),
        ("short_text", quoted(&["", "a", "NULL", "a,b"])),
        ("inner_c", quoted(&["(,)", "(1,)", "(1,\"\")", "(2,\"a \"\"quoted\"\" \\\\ text\")", "(,NULL)", "(3,\"(x,y)\")"])),
        ("outer_c", quoted(&[
            "(,,,,)", "(\"(1,a)\",\"{\"\"(2,b)\"\",NULL}\",\"[a,b)\",1.5,sad)",
            "(\"(1,\"\"x y\"\")\",\"{}\",empty,-3,\"it's \"\"so, so\"\"\")",
        ])),
        ("empty_c", vec!["'()'".into()]),
        ("int4range", quoted(&["empty", "[1,5)", "(,)", "[1,)", "(,1)"])),
        ("int8range", quoted(&["empty", "[1,5)", "[-9223372036854775808,9223372036854775807)"])),
        ("numrange", quoted(&["empty", "[1,5]", "(1.5,2.50)", "[,1)", "[0.001,1e30]"])),
        ("tsrange", quoted(&["empty", "[2000-01-01,2001-01-01 12:00)", "(,infinity]"])),
        ("tstzrange", quoted(&["empty", "[2000-01-01 00:00+00,2001-07-01 12:00+00)", "[-infinity,)"])),
        ("daterange", quoted(&["empty", "[2000-01-01,2001-01-01]", "(,)", "[0044-03-15 BC,)"])),
        ("textrange", quoted(&[
            "empty", "[a,b)", "(,\"\"]", "[\"\",\"a,b\"]", "[\"(\",\"[\")", "[\"a \"\"q\"\"\",\"b\\\\s\"]", "(aaaaaaaaaaaaaaa,bb)",
        ])),
        ("floatrange", quoted(&["[0.1,1e300]", "(-Infinity,NaN)"])),
        ("charrange", quoted(&["[a,z]", "(,b)"])),
        ("int4[]", quoted(&["{}", "{1}", "{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={5,6}", "[-2:-1][3:3]={{1},{NULL}}", "{{{1},{2}},{{3},{4}}}", "{NULL}"])),
        ("text[]", quoted(&["{}", "{\"\"}", "{NULL,\"NULL\",null}", "{\"a b\",\"a,b\",\"{}\",\"\\\\\",\"\\\"\",\"a;b\"}", "{a\tb}"])),
        ("int8[]", quoted(&["{1,NULL,9223372036854775807}", "[5:6]={NULL,1}"])),
        ("numeric[]", quoted(&["{1.50,NULL,NaN,-1e20}", "{{0.1},{2}}"])),
        ("box[]", quoted(&["{(1,1),(0,0);(2,2),(1,1)}", "{NULL}"])),
        ("bool[]", quoted(&["{t,f,NULL}"])),
        ("mood[]", quoted(&["{sad,\"it's \\\"so, so\\\"\",\"null\"}"])),
        ("timestamptz[]", quoted(&["{2000-01-01 00:00+00,NULL}"])),
        ("inet[]", quoted(&["{1.2.3.4,::1/64}"])),
        ("outer_c[]", quoted(&["{NULL,\"(\\\"(1,a)\\\",,,,)\"}"])),
        ("int4range[]", quoted(&["{\"[1,5)\",empty,NULL}"])),
    ];
    if major >= Major::V11 {
        all.push(("prices", quoted(&["{1.5,2}", "{}"])));
        all.push(("dom_c", quoted(&["(1,a)", "(,\"\")"])));
    }
    if major >= Major::V13 {
        all.push(("xid8", quoted(&["0", "18446744073709551615"])));
        all.push(("pg_snapshot", quoted(&["10:20:10,14,15", "1:1:"])));
    }
    if major >= Major::V14 {
        all.push((
            "int4multirange",
            quoted(&["{}", "{[1,5)}", "{(,1),[3,5),[7,)}", "{[1,2),[3,4),[5,6),[7,8),[9,10),[11,12)}"]),
        ));
        all.push(("int8multirange", quoted(&["{[1,5),[8,9)}", "{(,)}"])));
        all.push((
            "nummultirange",
            quoted(&["{}", "{[1,5],(7.25,1e30)}", "{[1,2],[3,4.5],(5,6),[7,8),(9,10000000),(20000000,)}"]),
        ));
        all.push(("datemultirange", quoted(&["{[2000-01-01,2001-01-01],[2002-01-01,)}"])));
        all.push(("tsmultirange", quoted(&["{[2000-01-01,2001-01-01],[2002-01-01,)}"])));
        all.push((
            "tstzmultirange",
            quoted(&["{[2000-01-01 00:00+00,2001-07-01 00:00+00],[2002-01-01 00:00+00,)}"]),
        ));
        all.push((
            "textmultirange",
            quoted(&[
                "{[a,b),[\"c d\",e],[\"x,y\",)}",
                "{[a,aaaaaaaaaaa),[b,bb),[c,ccc),[d,dddd),[e,eeeee),[f,)}",
            ]),
        ));
        all.push(("floatmultirange", quoted(&["{[0.1,1],(2,)}"])));
        all.push(("charmultirange", quoted(&["{[a,c),[e,g),[i,k),[m,o),[q,s)}"])));
        all.push(("int4multirange[]", quoted(&["{\"{[1,5)}\",NULL,\"{}\"}"])));
    }
    if built.xml {
        let documents = ["<a/>", "text <b>more</b>", "<a attribute='1'>\n</a>", "\n<a/>", "\n\n<a>größe</a>"];
        all.push(("xml", quoted(&documents)));
    }
    if built.citext {
        all.push(("citext", quoted(&texts)));
    }
    if built.hstore {
        all.push((
            "hstore",
            quoted(&["", "a=>1", "a=>NULL, b=>\"NULL\"", r#""a \"q\""=>"b\\s", größe=>"", ""=>"=>,""#]),
        ));
    }
    if major >= Major::V19 {
        all.push(("oid8", quoted(&["0", "18446744073709551615"])));
    }
    all.into_iter()
        .map(|(name, mut values)| {
            values.push("NULL".into());
            (name.to_owned(), values)
        })
        .collect()
}

/// Statements for [`SPECIAL_TABLES`].
pub fn special_tables(major: Major, built: &Built) -> Vec<String> {
    let mut all: Vec<String> = [
        // columns dropped and added while there are rows
        "CREATE TABLE evolved (id int4, a text, gone int8, c numeric, also_gone text)",
        "INSERT INTO evolved VALUES (1, 'x', 7, 1.5, 'y'), (2, NULL, NULL, NULL, NULL), (3, 'xyz', 8, -2, repeat('z', 300))",
        "ALTER TABLE evolved DROP gone",
        "ALTER TABLE evolved ADD d int4",
        "INSERT INTO evolved VALUES (4, 'later', 4.25, 'q', 4)",
        "ALTER TABLE evolved DROP also_gone, ADD e text DEFAULT 'it''s new', ADD f numeric DEFAULT 1.50, ADD g timestamptz \
         DEFAULT '2020-01-01 00:00+00', ADD h int4[] DEFAULT '{1,NULL}', ADD i point DEFAULT '(1,2)', ADD j \"char\" DEFAULT 'x', \
         ADD k uuid DEFAULT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', ADD l bool DEFAULT true, ADD m int8 DEFAULT 5, \
         ADD n text DEFAULT repeat('compressible ', 60), ADD o text, ADD p jsonb DEFAULT '{\"a\": [1, null]}', ADD q inner_c DEFAULT '(1,x)', \
         ADD r name DEFAULT 'a name', ADD s mood DEFAULT 'ok', ADD t text DEFAULT NULL",
        "INSERT INTO evolved (id, a, e) VALUES (5, 'newest', NULL), (6, NULL, 'own')",
        "ALTER TABLE evolved ADD u int4",
        // every way of storing
        "CREATE TABLE toasted (id int4, p text, e text, m text, x text, b bytea, j jsonb, ta text[], n numeric, c inner_c, v varbit)",
        "ALTER TABLE toasted ALTER p SET STORAGE PLAIN, ALTER e SET STORAGE EXTERNAL, ALTER m SET STORAGE MAIN",
        "CREATE FUNCTION noise(n int) RETURNS text LANGUAGE sql AS \
         $$SELECT coalesce(string_agg(md5(i::text), ''), '') FROM generate_series(1, n) i$$",
        "INSERT INTO toasted (id, p, e, m, x) VALUES (1, repeat('p', 3000), repeat('e', 3000), repeat('m', 3000), repeat('x', 3000)), \
         (2, '', repeat('long ', 50000), repeat('main ', 2000), repeat('extended ', 100000)), (3, 'p', noise(3), noise(50), noise(1000)), \
         (4, repeat('p', 126), repeat('e', 127), repeat('m', 1996), noise(200)), (5, repeat('p', 7000), noise(500), '', '')",
        "INSERT INTO toasted (id, x) SELECT 100 + i, repeat(chr(97 + i % 26) || i, 10 * i) FROM generate_series(1, 300) i",
        "INSERT INTO toasted (id, x) SELECT 500 + i, noise(i) || repeat('tail', i * i) FROM generate_series(1, 100) i",
        "INSERT INTO toasted (id, b, j, ta, n, c, v) SELECT 1000 + k, decode(noise(k * 60), 'hex'), \
         (SELECT jsonb_object_agg(i, md5(i::text)) FROM generate_series(1, k * 100) i), \
         (SELECT array_agg(repeat(md5(i::text), i % 10)) FROM generate_series(1, k * 80) i), \
         translate(noise(k * 100), 'abcdef', '123456')::numeric, ROW(k, noise(k * 50) || repeat('c', k * 1000))::inner_c, \
         repeat('1011', k * 10000)::varbit FROM generate_series(1, 6) k",
        // composite values older than what their type is now
        "CREATE TABLE composites (id int4, v evolving, vs evolving[])",
        "INSERT INTO composites VALUES (1, '(1,x,y)', '{\"(1,x,y)\",\"(2,,)\"}'), (2, NULL, NULL), (3, '(,,)', '{}')",
        "ALTER TYPE evolving DROP ATTRIBUTE gone, ADD ATTRIBUTE c numeric, ADD ATTRIBUTE d text",
        "INSERT INTO composites VALUES (4, '(1,x,2.50,\"a b\")', '{\"(1,x,2.50,\\\"a b\\\")\",NULL}')",
    ]
    .map(str::to_owned)
    .to_vec();
    let (mut names, mut values) = (String::new(), String::new());
    for n in 0..400 {
        let kind = ["int2", "text", "bool", "int8"][n % 4];
        names.extend([", c", &n.to_string(), " ", kind]);
        let value = ["(i * 7)::int2", "repeat('w', i % 5)", "true", "i::int8"][n % 4];
        let null = ["true", "false", "false"][n % 3];
        values.extend([", CASE WHEN ", null, " OR i % 11 = 0 THEN NULL ELSE ", value, " END"]);
    }
    all.push(format!("CREATE TABLE wide (id int4{names})"));
    all.push(format!("INSERT INTO wide SELECT i{values} FROM generate_series(1, 60) i"));
    if built.lz4 {
        let lz4 = [
            "CREATE TABLE stored_lz4 (id int4, x text COMPRESSION lz4, y text COMPRESSION pglz, z jsonb COMPRESSION lz4)",
            "INSERT INTO stored_lz4 SELECT i, repeat('lz ' || i, i * 30) || noise(i % 40), repeat('pg ' || i, i * 30) || noise(i % 40), \
             (SELECT jsonb_object_agg('key' || k, repeat('v', k)) FROM generate_series(1, i) k) FROM generate_series(1, 120) i",
        ];
        all.extend(lz4.map(str::to_owned));
    }
    if major <= Major::V11 {
        all.push("CREATE TABLE with_oids (id int4, a text, b int8) WITH OIDS".into());
        all.push("INSERT INTO with_oids VALUES (1, 'x', 2), (2, NULL, 3), (3, 'y', NULL)".into());
    }
    all
}

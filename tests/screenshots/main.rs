//! The pictures of the README are made by the program itself: `UPDATE_SCREENSHOTS=1 cargo test --test screenshots`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "../screen/pty.rs"]
#[allow(dead_code, reason = "shared with the tests of the screen")]
mod pty;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use pty::Pty;
use sha2::{Digest, Sha256};

/// What a terminal shows of `forkpoint ARGS`, from the line that starts with `from` on, at most `lines` of it.
fn picture(args: &[&str], from: &str, lines: usize) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_forkpoint"))
        .args(args)
        .args(["--color", "always", "--quiet"])
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let shown: Vec<&str> = text.lines().skip_while(|l| !l.contains(from)).take(lines).collect();
    assert!(!shown.is_empty(), "{args:?} has no line with {from:?}");
    let shown = format!("$ forkpoint {}\n{}\n", args.join(" "), shown.join("\n"));
    anstyle_svg::Term::new().render_svg(&shown)
}

/// Each view after these keys, at a size in which a README can show it.
const VIEWS: [(&str, &str); 9] = [
    ("overview", ""),
    ("finding", "\r"),
    ("control", "2jjjjjjj"),
    ("timelines", "3"),
    ("blocks", "4/public.acct\r\t"),
    ("records", "5"),
    ("lost", "6"),
    ("plan", "7"),
    ("help", "?"),
];

/// What the real program shows on a terminal of its own after these keys.
fn screen(keys: &str) -> String {
    const SIZE: (u16, u16) = (100, 30);
    let mut pty = Pty::start(&["demo", "--read-only"], SIZE, Path::new("/"), &[]);
    pty.wait_for("REWIND");
    pty.settle();
    for key in keys.chars() {
        pty.type_keys(&key.to_string());
        pty.settle();
    }
    let shown =
        pty.look(|screen| (0..SIZE.1).map(|y| line(screen, y, SIZE.0)).collect::<Vec<_>>().join("\n"));
    anstyle_svg::Term::new().min_width_px(860).render_svg(&shown)
}

/// A line of the screen with its styles as a terminal takes them.
fn line(screen: &vt100::Screen, y: u16, columns: u16) -> String {
    let mut out = String::new();
    for x in 0..columns {
        let Some(cell) = screen.cell(y, x).filter(|c| !c.is_wide_continuation()) else { continue };
        // one by one: together some are not drawn
        out.push_str("\x1b[0m");
        for (on, code) in [(cell.bold(), 1), (cell.dim(), 2), (cell.underline(), 4), (cell.inverse(), 7)] {
            if on {
                write!(out, "\x1b[{code}m").unwrap();
            }
        }
        if let vt100::Color::Idx(color) = cell.fgcolor() {
            write!(out, "\x1b[{}m", 30 + u32::from(color)).unwrap();
        }
        out.push_str(if cell.has_contents() { cell.contents() } else { " " });
    }
    out + "\x1b[0m"
}

fn stored(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("screenshots").join(name)
}

/// Name under which a PNG notes the SHA-256 of the SVG that it was drawn from.
const DRAWN_FROM: &str = "svg-sha256";

fn fingerprint(svg: &str) -> String {
    Sha256::digest(svg).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Draws an SVG, and notes in the file which one.
fn draw(svg: &str, path: &Path) {
    let mut options = resvg::usvg::Options::default();
    options.fontdb_mut().load_system_fonts();
    options.fontdb_mut().set_monospace_family("DejaVu Sans Mono");
    let tree = resvg::usvg::Tree::from_str(svg, &options).unwrap();
    let size = tree.size().to_int_size();
    let mut pixels = resvg::tiny_skia::Pixmap::new(size.width(), size.height()).unwrap();
    pixels.fill(resvg::tiny_skia::Color::BLACK);
    resvg::render(&tree, resvg::tiny_skia::Transform::default(), &mut pixels.as_mut());
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), size.width(), size.height());
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    encoder.add_text_chunk(DRAWN_FROM.into(), fingerprint(svg)).unwrap();
    encoder.write_header().unwrap().write_image_data(pixels.data()).unwrap();
}

/// The SVG that a stored PNG was drawn from.
fn drawn_from(path: &Path) -> Option<String> {
    let file = std::io::BufReader::new(std::fs::File::open(path).ok()?);
    let reader = png::Decoder::new(file).read_info().ok()?;
    let text = &reader.info().uncompressed_latin1_text;
    text.iter().find(|t| t.keyword == DRAWN_FROM).map(|t| t.text.clone())
}

#[test]
fn pictures_are_up_to_date() {
    let reports = [
        ("report", picture(&["demo"], "REWIND", 58)),
        ("lost-report", picture(&["demo"], "Transactions that a rewind discards", 26)),
        ("twins", picture(&["demo", "twins"], "RE-CLONE", 52)),
    ];
    let views = VIEWS.into_iter().map(|(name, keys)| (name, screen(keys)));
    for (name, svg) in reports.into_iter().chain(views) {
        let (path, drawn) = (stored(&format!("{name}.svg")), stored(&format!("{name}.png")));
        if std::env::var_os("UPDATE_SCREENSHOTS").is_some() {
            std::fs::write(&path, &svg).unwrap();
            draw(&svg, &drawn);
        }
        let stale = "is out of date: UPDATE_SCREENSHOTS=1 cargo test --test screenshots";
        assert!(std::fs::read_to_string(&path).unwrap_or_default() == svg, "{name}.svg {stale}");
        assert_eq!(drawn_from(&drawn), Some(fingerprint(&svg)), "{name}.png {stale}");
    }
}

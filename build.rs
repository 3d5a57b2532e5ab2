//! Says whether the pair that `forkpoint demo` shows is there to be bundled.

fn main() {
    const PAIR: &str = "testdata/basic-18/pair.tar.zst";
    println!("cargo::rustc-check-cfg=cfg(bundled_pair)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={PAIR}");
    if std::path::Path::new(PAIR).exists() {
        println!("cargo::rustc-cfg=bundled_pair");
    }
}

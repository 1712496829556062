//! Chooses the linker scripts by board.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    if std::env::var_os("CARGO_FEATURE_QEMU_VIRT").is_some() {
        println!("cargo:rustc-link-search={here}/linker");
        println!("cargo:rustc-link-arg-bins=-Tqemu-virt.x");
        println!("cargo:rustc-link-arg-bins=-Tlink.x");
    } else if std::env::var_os("CARGO_FEATURE_ESP").is_some() {
        println!("cargo:rustc-link-arg-bins=-Tlinkall.x");
    }
    println!("cargo:rerun-if-changed=linker");
    println!("cargo:rerun-if-changed=build.rs");
}

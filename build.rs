//! What the linker must know to make a Node.js addon.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family.contains("wasm")) {
        return; // a module of its own
    }
    napi_build::setup();
}

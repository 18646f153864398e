//! What the linker must know to make a Node.js addon.

fn main() {
    napi_build::setup();
}

//! Copies the source of the engine, with a switch for each mistake.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "src/mistakes.rs"]
#[allow(dead_code)]
mod mistakes;

use mistakes::MISTAKES;

fn main() {
    let source = Path::new("../engine/src");
    let output = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    println!("cargo::rerun-if-changed={}", source.display());
    println!("cargo::rerun-if-changed=src/mistakes.rs");
    let read = |file: &str| {
        let text = fs::read_to_string(source.join(file));
        text.unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    let entries = fs::read_dir(source).expect("the engine is beside this crate");
    let names = entries.map(|entry| entry.expect("a file").file_name().into_string());
    let names = names.map(|name| name.expect("a name in UTF-8"));
    let mut files: BTreeMap<_, _> = names.map(|name| (name.clone(), read(&name))).collect();
    for mistake in MISTAKES {
        for (place, right, wrong) in mistake.lines {
            let text = files.get_mut(*place);
            let text = text.unwrap_or_else(|| panic!("{}: no file {place}", mistake.name));
            let count = text.matches(right).count();
            assert_eq!(count, 1, "{}: {place} has {count} times {right:?}", mistake.name);
            let switch = format!("crate::is_made({:?})", mistake.name);
            *text = text.replace(right, &wrong.replace("WRONG", &switch));
        }
    }
    for (file, text) in files {
        let (file, text) = match &file[..] {
            "lib.rs" => ("engine.rs", in_place(&text, &output)),
            file => (file, text),
        };
        fs::write(output.join(file), text).expect("the output can be written");
    }
}

/// The root of the engine as a part of another root: without its documents, and with the paths of its files.
fn in_place(root: &str, output: &Path) -> String {
    let lines = root.lines().filter(|line| !line.starts_with("//!"));
    let lines = lines.map(|line| match line.strip_prefix("mod ") {
        Some(file) => {
            let path = output.join(file.replace(';', ".rs"));
            format!("#[path = {path:?}]\n{line}\n")
        }
        None => format!("{line}\n"),
    });
    lines.collect()
}

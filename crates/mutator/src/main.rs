//! Copies the source of a crate with all mutants of one of its folders: small mistakes, each behind a switch, so that one
//! build is all that it takes to try them. `scripts/mutants.js` calls it.
//!
//! `redsync-mutator FROM TO FOLDER [SITE ...]` mutates the files right in FROM/FOLDER, and leaves these sites as they
//! are. Whatever else is in TO is deleted. It prints, separated by tabs, of each mutant
//! `mutant NUMBER SITE FILE LINE FUNCTION ORIGINAL MUTATED`, and where each site stands in the copy, in bytes:
//! `range FILE START END SITE`. A file is told as it is called from FROM.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

mod finder;
mod site;
#[allow(dead_code)]
mod switch;

use finder::find;
use site::Copy;

/// What the copy has beside the source, and under which name.
const ADDED: &str = "mutant.rs";
const SWITCH: &str = include_str!("switch.rs");

/// Where that is declared.
const ROOT: &str = "lib.rs";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut folder = || arguments.next().map(PathBuf::from).ok_or("FROM TO FOLDER [SITE ...]");
    let (from, to, mutated) = (folder()?, folder()?, folder()?);
    let left_out =
        arguments.map(|number| number.parse()).collect::<Result<BTreeSet<usize>, _>>()?;
    let (mut next_site, mut next_mutant) = (1, 1);
    let paths = files(&from, Path::new(""))?;
    for path in &paths {
        let source = fs::read_to_string(from.join(path))?;
        let file = path.to_str().ok_or("a name that is not in UTF-8")?;
        if path.parent() != Some(&mutated) || path.extension().is_none_or(|it| it != "rs") {
            write(&to, path, &source)?;
            continue;
        }
        let found =
            find(&source, next_site, next_mutant).map_err(|error| format!("{file}: {error}"))?;
        (next_site, next_mutant) = (found.next_site, found.next_mutant);
        let is_left_out = |site| left_out.contains(&site);
        let copy = Copy::of(&source, &found.sites, &is_left_out);
        write(&to, path, &copy.text)?;
        for (site, range) in copy.ranges {
            println!("range\t{file}\t{}\t{}\t{site}", range.start, range.end);
        }
        for site in &found.sites {
            for it in &site.mutants {
                let (function, original, mutated) = (&it.function, &it.original, &it.mutated);
                let (number, site, line) = (it.number, site.number, it.line);
                println!(
                    "mutant\t{number}\t{site}\t{file}\t{line}\t{function}\t{original}\t{mutated}"
                );
            }
        }
    }
    write(&to, Path::new(ADDED), SWITCH)?;
    // What an earlier copy had, and the source has no more, could be in the way of what it has now.
    for path in files(&to, Path::new(""))? {
        if path != Path::new(ADDED) && !paths.contains(&path) {
            fs::remove_file(to.join(path))?;
        }
    }
    Ok(())
}

/// Leaves a file as it is that has this text already: cargo goes by its date.
fn write(to: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let file = to.join(path);
    let is_root = path == Path::new(ROOT);
    let text = if is_root { format!("{text}\npub mod mutant;\n") } else { text.to_owned() };
    if fs::read_to_string(&file).is_ok_and(|before| before == text) {
        return Ok(());
    }
    file.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(file, text)
}

/// All files of a folder and of those in it, in a fixed order.
fn files(from: &Path, folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(from.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            paths.extend(files(from, &path)?);
        } else {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

//! Copies the source of the engine with all its mutants: small mistakes, each behind a switch, so that one build is
//! all that it takes to try them. `scripts/mutants.js` calls it.
//!
//! `redsync-mutator FROM TO [SITE ...]` leaves these sites as they are. It prints, separated by tabs, of each mutant
//! `mutant NUMBER SITE FILE LINE FUNCTION ORIGINAL MUTATED`, and where each site stands in the copy, in bytes:
//! `range FILE START END SITE`.

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

/// What the copy has beside the source.
const SWITCH: &str = include_str!("switch.rs");

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut folder = || arguments.next().map(PathBuf::from).ok_or("FROM TO [SITE ...]");
    let (from, to) = (folder()?, folder()?);
    let left_out =
        arguments.map(|number| number.parse()).collect::<Result<BTreeSet<usize>, _>>()?;
    let (mut next_site, mut next_mutant) = (1, 1);
    fs::create_dir_all(&to)?;
    for file in files(&from)? {
        let source = fs::read_to_string(from.join(&file))?;
        let found =
            find(&source, next_site, next_mutant).map_err(|error| format!("{file}: {error}"))?;
        (next_site, next_mutant) = (found.next_site, found.next_mutant);
        let is_left_out = |site| left_out.contains(&site);
        let copy = Copy::of(&source, &found.sites, &is_left_out);
        let is_root = file == "lib.rs";
        write(&to.join(&file), &(copy.text + if is_root { "\npub mod mutant;\n" } else { "" }))?;
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
    write(&to.join("mutant.rs"), SWITCH)?;
    Ok(())
}

/// Leaves a file as it is that has this text already: cargo goes by its date.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    if fs::read_to_string(file).is_ok_and(|before| before == text) {
        return Ok(());
    }
    fs::write(file, text)
}

/// Their names, in a fixed order.
fn files(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().into_string().map_err(|_| "a name that is not in UTF-8")?);
    }
    names.sort();
    Ok(names)
}

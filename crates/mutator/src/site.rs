//! Places of a file where something is mutated, and the file with all of them.

use std::ops::Range;

/// A mistake that can be made at a site.
pub struct Mutant {
    pub number: usize,
    /// The line of the source, from 1.
    pub line: usize,
    /// The function that it is in.
    pub function: String,
    pub original: String,
    pub mutated: String,
}

/// A part of what stands in place of a site.
pub enum Piece {
    Text(String),
    /// What the source has there, with the sites in it.
    Source(Range<usize>),
}

/// A place of the source, in bytes, and what replaces it. Only whole sites can be left out.
pub struct Site {
    pub number: usize,
    pub range: Range<usize>,
    pub pieces: Vec<Piece>,
    pub mutants: Vec<Mutant>,
}

/// A copy that is being written.
pub struct Copy<'a> {
    source: &'a str,
    sites: &'a [Site],
    is_left_out: &'a dyn Fn(usize) -> bool,
    pub text: String,
    /// Where each site stands in the text: a site within another one may stand there twice.
    pub ranges: Vec<(usize, Range<usize>)>,
}

impl<'a> Copy<'a> {
    /// The source with these sites, which stand in the order in which they were found: from outside to inside.
    pub fn of(source: &'a str, sites: &'a [Site], is_left_out: &'a dyn Fn(usize) -> bool) -> Self {
        let mut copy = Self { source, sites, is_left_out, text: String::new(), ranges: Vec::new() };
        copy.write(0..source.len(), 0);
        copy
    }

    /// What the source has there, with all sites from this index on that are in it.
    fn write(&mut self, range: Range<usize>, first: usize) {
        let mut at = range.start;
        let mut sites: Vec<_> = (first..self.sites.len()).collect();
        sites.sort_by_key(|&index| self.sites[index].range.start); // a stable sort
        for index in sites {
            let site = &self.sites[index];
            let is_inside = site.range.start >= at && site.range.end <= range.end;
            if !is_inside || (self.is_left_out)(site.number) {
                continue;
            }
            self.text.push_str(&self.source[at..site.range.start]);
            let start = self.text.len();
            for piece in &site.pieces {
                match piece {
                    Piece::Text(text) => self.text.push_str(text),
                    Piece::Source(part) => self.write(part.clone(), index + 1),
                }
            }
            self.ranges.push((site.number, start..self.text.len()));
            at = site.range.end;
        }
        self.text.push_str(&self.source[at..range.end]);
    }
}

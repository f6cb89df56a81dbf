//! The ten longest files and functions: nothing is capped, but small things should stay small.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::run::root;
use crate::tidy::rust_files;

const SHOWN: usize = 10;

/// Prints them.
pub(crate) fn print() -> Result<()> {
    let root = root();
    let mut files = Vec::new();
    let mut functions = Vec::new();
    for path in rust_files(&root)? {
        let text = std::fs::read_to_string(&path)?;
        let short = path.strip_prefix(&root).unwrap_or(&path).to_owned();
        files.push((text.lines().count(), short.clone()));
        functions.extend(function_lengths(&text, &short));
    }
    files.sort_by(|a, b| b.cmp(a));
    functions.sort_by(|a, b| b.cmp(a));
    println!("longest files:");
    for (lines, path) in files.iter().take(SHOWN) {
        println!("  {lines:5}  {}", path.display());
    }
    println!("longest functions:");
    for (lines, path, name) in functions.iter().take(SHOWN) {
        println!("  {lines:5}  {}: {name}", path.display());
    }
    Ok(())
}

/// Functions by the indentation that rustfmt gives them: from the line with `fn` to the closing
/// brace in the same column.
fn function_lengths(text: &str, path: &Path) -> Vec<(usize, PathBuf, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some(at) = line.find("fn ") else { continue };
        let head = line[..at].trim();
        let words = [
            "",
            "pub",
            "pub(crate)",
            "pub(super)",
            "const",
            "async",
            "unsafe",
        ];
        if !head.split(' ').all(|word| words.contains(&word)) {
            continue;
        }
        let name: String = line[at + 3..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let close = format!("{}}}", " ".repeat(indent));
        let end = lines[index..].iter().position(|line| *line == close);
        if let Some(length) = end {
            found.push((length + 1, path.to_owned(), name));
        }
    }
    found
}

//! The graph of which source file uses which, read from `use` items and paths.
//!
//! A name that a `mod.rs` re-exports leads to the file that defines it: using a folder's front is using that file. A
//! `mod.rs` itself uses what it re-exports only where it also names it.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, UseTree, Visibility};

/// The graph: for each file the files that it uses.
pub(super) type Graph = BTreeMap<String, BTreeSet<String>>;

/// What one file says about others.
#[derive(Default)]
struct File {
    /// Imported and written paths, each as it stands.
    paths: Vec<Vec<String>>,
    /// Names that stand alone, some of which may be re-exported.
    names: BTreeSet<String>,
    /// Re-exported names, and the paths that they lead to.
    exports: BTreeMap<String, Vec<String>>,
    /// The child modules that it declares.
    children: BTreeSet<String>,
}

/// Returns the graph of a package's files, given by their paths under `src/`.
pub(super) fn graph(sources: &BTreeMap<String, String>) -> Graph {
    let files: BTreeMap<&str, File> = sources.iter().map(|(path, text)| (path.as_str(), read(path, text))).collect();
    let uses = files.iter().map(|(path, file)| {
        let own = module(path);
        let paths = file.paths.iter().filter_map(|names| {
            let first = names.first()?;
            let local = matches!(first.as_str(), "crate" | "self" | "super") || file.children.contains(first);
            local.then(|| defining(&files, &absolute(&own, names), 0)).flatten()
        });
        let re_exported = file.names.iter().filter_map(|name| defining(&files, file.exports.get(name)?, 0));
        ((*path).to_owned(), paths.chain(re_exported).filter(|used| used != path).map(str::to_owned).collect())
    });
    uses.collect()
}

/// Returns the groups of files of which each reaches each.
pub(super) fn circles(graph: &Graph) -> BTreeSet<BTreeSet<&str>> {
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|file| (file.as_str(), reachable(graph, file))).collect();
    let groups = graph.keys().map(|file| {
        reach[file.as_str()].iter().copied().filter(|other| reach[other].contains(file.as_str())).collect()
    });
    groups.filter(|group: &BTreeSet<&str>| group.len() > 1).collect()
}

fn reachable<'a>(graph: &'a Graph, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = graph[from].iter().map(String::as_str).collect();
    while let Some(file) = open.pop() {
        if reached.insert(file) {
            open.extend(graph[file].iter().map(String::as_str));
        }
    }
    reached
}

/// Returns the file that defines what an absolute path names.
fn defining<'a>(files: &BTreeMap<&'a str, File>, path: &[String], depth: usize) -> Option<&'a str> {
    (0..=path.len()).rev().find_map(|end| {
        let folder = path[..end].join("/");
        let candidates = [format!("{folder}.rs"), format!("{folder}/mod.rs")];
        let (name, file) = candidates.iter().find_map(|candidate| files.get_key_value(candidate.as_str()))?;
        match path.get(end).and_then(|name| file.exports.get(name)) {
            Some(target) if depth < 8 => defining(files, target, depth + 1),
            _ => Some(*name),
        }
    })
}

/// Returns the module of a file, as the names of its path.
fn module(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if matches!(path, "lib" | "main") { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// Returns the names of a path from the root of its package.
fn absolute(own: &[String], path: &[String]) -> Vec<String> {
    let mut whole = if path.first().is_some_and(|first| first == "crate") { Vec::new() } else { own.to_vec() };
    for name in path {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => drop(whole.pop()),
            _ => whole.push(name.clone()),
        }
    }
    whole
}

fn read(path: &str, text: &str) -> File {
    let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{path} is no Rust: {error}"));
    let mut file = Reader { own: module(path), file: File::default() };
    file.visit_file(&parsed);
    file.file
}

struct Reader {
    own: Vec<String>,
    file: File,
}

impl Reader {
    fn imports(&mut self, public: bool, prefix: &[String], tree: &UseTree) {
        let longer = |name: &dyn ToString| [prefix, &[name.to_string()]].concat();
        let (name, path) = match tree {
            UseTree::Path(path) => return self.imports(public, &longer(&path.ident), &path.tree),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.imports(public, prefix, tree));
            }
            UseTree::Glob(_) => return self.file.paths.push(prefix.to_vec()),
            UseTree::Name(name) if name.ident == "self" => return self.file.paths.push(prefix.to_vec()),
            UseTree::Name(name) => (name.ident.to_string(), longer(&name.ident)),
            UseTree::Rename(rename) => (rename.rename.to_string(), longer(&rename.ident)),
        };
        if public {
            drop(self.file.exports.insert(name, absolute(&self.own, &path)));
        } else {
            self.file.paths.push(path);
        }
    }

    /// Adds the paths among the tokens of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(name) if colons == 2 && !path.is_empty() => {
                    path.push(name.to_string());
                    colons = 0;
                }
                other => {
                    self.path(std::mem::take(&mut path));
                    colons = 0;
                    match other {
                        TokenTree::Ident(name) => path.push(name.to_string()),
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        _ => {}
                    }
                }
            }
        }
        self.path(path);
    }

    /// Adds a path, or a name that stands alone.
    fn path(&mut self, mut path: Vec<String>) {
        if path.len() > 1 {
            self.file.paths.push(path);
        } else {
            self.file.names.extend(path.pop());
        }
    }
}

/// Returns whether an item is compiled for tests only.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !matches!(item, Item::Mod(module) if is_test(&module.attrs)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.file.children.insert(item.ident.to_string());
        visit::visit_item_mod(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.imports(!matches!(item.vis, Visibility::Inherited), &[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>();
        self.path(names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }
}

#[test]
fn the_graph_follows_re_exports_and_finds_circles() {
    let parse = |files: &[(&str, &str)]| {
        graph(&files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    };
    let files = [
        ("lib.rs", "pub mod a; pub mod b;"),
        ("a/mod.rs", "mod one; mod two; pub use one::{One, three::{Four}}; pub use two::Two as Other;"),
        ("a/one.rs", "use super::Other;"),
        ("a/two.rs", "pub struct Two; #[cfg(test)] mod tests { use crate::b::B; }"),
        ("b.rs", "use crate::a::{self, One, Other}; fn f() { print!(\"{}\", crate::a::two::g()) }"),
    ];
    let read = parse(&files);
    assert_eq!(read["a/one.rs"], ["a/two.rs".to_owned()].into());
    assert_eq!(read["b.rs"], ["a/mod.rs", "a/one.rs", "a/two.rs"].map(str::to_owned).into());
    assert!(read["a/mod.rs"].is_empty(), "what it only re-exports it does not use");
    assert!(circles(&read).is_empty());
    let read = parse(&[
        ("lib.rs", "pub mod a;"),
        ("a/mod.rs", "mod one; pub use one::One; pub struct Two(One);"),
        ("a/one.rs", "use super::Two;"),
    ]);
    assert_eq!(circles(&read), [["a/mod.rs", "a/one.rs"].into()].into(), "it uses what it re-exports and names");
    let read = parse(&[
        ("lib.rs", ""),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "fn f() { vec![super::a::A] }"),
        ("c.rs", "use crate::a::A;"),
    ]);
    assert_eq!(circles(&read), [["a.rs", "b.rs"].into()].into());
}

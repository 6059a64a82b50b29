//! The size of functions: their lines and parameters.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, FnArg, ImplItemFn, Item, ItemFn, Signature, TraitItemFn};

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// From its signature to the closing brace.
    pub(super) lines: usize,
    /// Without `self`.
    pub(super) parameters: usize,
}

/// Returns the functions of a source, those of its tests left out.
pub(super) fn functions(path: &str, text: &str) -> Vec<Function> {
    let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{path} is no Rust: {error}"));
    let mut reader = Reader(Vec::new());
    reader.visit_file(&parsed);
    reader.0
}

struct Reader(Vec<Function>);

impl Reader {
    fn add(&mut self, signature: &Signature, body: &Block) {
        let lines = body.span().end().line - signature.span().start().line + 1;
        let parameters = signature.inputs.iter().filter(|input| matches!(input, FnArg::Typed(_))).count();
        self.0.push(Function { name: signature.ident.to_string(), lines, parameters });
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !matches!(item, Item::Mod(module) if super::graph::is_test(&module.attrs)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(body) = &item.default {
            self.add(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[test]
fn functions_are_measured() {
    let text = "impl A {\n    async fn one(\n        &mut self,\n        a: (u8, u8),\n        b: &(dyn Fn(&str) -> u8 + Send),\n    ) -> u8 {\n        1\n    }\n}\ntrait B {\n    fn two(&self, a: u8);\n}\n";
    let one = Function { name: "one".to_owned(), lines: 7, parameters: 2 };
    assert_eq!(functions("a.rs", text), [one]);
}

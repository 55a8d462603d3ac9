//! Reads the sources of a crate and says which file uses names of which other file. Knows no rooms and no rules.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A module by its path from the crate's root; the root is empty.
type ModulePath = Vec<String>;

/// One source file.
struct Module {
    file: PathBuf,
    /// Names that lead elsewhere, and where: the file's own `use` lines.
    aliases: HashMap<String, ModulePath>,
    /// Paths that the code names, as they are written.
    paths: Vec<ModulePath>,
    /// Modules that `use …::*` opens.
    globs: Vec<ModulePath>,
}

/// The files of a crate and the names that they use of each other.
pub(crate) struct Imports {
    modules: BTreeMap<ModulePath, Module>,
}

impl Imports {
    /// Reads all sources under `src`. Tests are passed over: they may look at everything.
    pub(crate) fn read(src: &Path) -> Imports {
        let mut modules = BTreeMap::new();
        let mut files = Vec::new();
        crate::sources(src, &mut files);
        for file in files {
            let path = module_path(file.strip_prefix(src).expect("a file of the crate"));
            if path.iter().any(|part| part.contains("tests")) {
                continue;
            }
            let text = fs::read_to_string(&file).expect("a readable source");
            let tree = syn::parse_file(&text).unwrap_or_else(|error| {
                panic!("{} cannot be parsed: {error}", file.display());
            });
            modules.insert(path.clone(), Module::read(file, &path, &tree));
        }
        Imports { modules }
    }

    /// For each file the files whose names it uses.
    pub(crate) fn edges(&self) -> BTreeMap<&Path, BTreeSet<&Path>> {
        let files = self.modules.iter().map(|(path, module)| {
            let used = module.paths.iter().map(|name| self.home(path, name, 0));
            let globs = module.globs.iter().map(|glob| self.file_of(glob));
            let used = used
                .chain(globs)
                .flatten()
                .filter(|file| *file != module.file);
            (module.file.as_path(), used.collect())
        });
        files.collect()
    }

    fn file_of(&self, module: &[String]) -> Option<&Path> {
        self.modules.get(module).map(|module| module.file.as_path())
    }

    /// The file that defines what `name` means in module `at`. Follows re-exports, so that a name leads to its
    /// definition and not to the face of its folder.
    fn home(&self, at: &[String], name: &[String], depth: usize) -> Option<&Path> {
        const REEXPORTS_MAX: usize = 16;
        if depth > REEXPORTS_MAX {
            return None;
        }
        let mut module = start(at, name)?;
        let skipped = name.iter().take_while(|part| is_keyword(part)).count();
        for (index, part) in name.iter().enumerate().skip(skipped) {
            let mut child = module.clone();
            child.push(part.clone());
            if self.modules.contains_key(&child) {
                module = child;
                continue;
            }
            let found = self.modules.get(&module)?;
            let Some(target) = found.aliases.get(part) else {
                // A path of another crate, or of a local variable, says nothing about this module.
                let is_own = skipped > 0 || index > 0;
                return is_own.then_some(found.file.as_path());
            };
            let rest = name.iter().skip(index + 1).cloned();
            let target: ModulePath = target.iter().cloned().chain(rest).collect();
            return self.home(&module, &target, depth + 1);
        }
        self.file_of(&module)
    }
}

impl Module {
    fn read(file: PathBuf, path: &[String], tree: &syn::File) -> Module {
        let mut reader = Reader::default();
        reader.visit_file(tree);
        let mut module = Module {
            file,
            aliases: HashMap::new(),
            paths: reader.paths,
            globs: Vec::new(),
        };
        for import in reader.uses {
            match import {
                Use::Name {
                    alias,
                    path,
                    reexported,
                } => {
                    if !reexported {
                        module.paths.push(path.clone());
                    }
                    // `use self::x` and `use x` name the same; an alias of itself would lead in a circle.
                    if path != [alias.clone()] {
                        module.aliases.insert(alias, path);
                    }
                }
                Use::Glob(opened) => module.globs.extend(start(path, &opened).map(|mut module| {
                    module.extend(opened.into_iter().skip_while(|part| is_keyword(part)));
                    module
                })),
            }
        }
        module
    }
}

/// One name that a `use` line brings in.
enum Use {
    Name {
        alias: String,
        path: ModulePath,
        /// The line is `pub use`: it passes the name on, which is no use of its own.
        reexported: bool,
    },
    Glob(ModulePath),
}

#[derive(Default)]
struct Reader {
    uses: Vec<Use>,
    paths: Vec<ModulePath>,
}

impl Reader {
    fn read_use(&mut self, tree: &syn::UseTree, before: &[String], reexported: bool) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.read_use(&path.tree, &with(&path.ident), reexported),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.read_use(tree, before, reexported);
                }
            }
            syn::UseTree::Glob(_) => self.uses.push(Use::Glob(before.to_vec())),
            syn::UseTree::Name(name) if name.ident == "self" => self.uses.push(Use::Name {
                alias: before.last().cloned().unwrap_or_default(),
                path: before.to_vec(),
                reexported,
            }),
            syn::UseTree::Name(name) => self.uses.push(Use::Name {
                alias: name.ident.to_string(),
                path: with(&name.ident),
                reexported,
            }),
            syn::UseTree::Rename(rename) => self.uses.push(Use::Name {
                alias: rename.rename.to_string(),
                path: with(&rename.ident),
                reexported,
            }),
        }
    }
}

impl Visit<'_> for Reader {
    fn visit_item(&mut self, item: &syn::Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        let reexported = !matches!(item.vis, syn::Visibility::Inherited);
        self.read_use(&item.tree, &[], reexported);
    }

    fn visit_impl_item(&mut self, item: &syn::ImplItem) {
        let attributes: &[syn::Attribute] = match item {
            syn::ImplItem::Fn(function) => &function.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_visibility(&mut self, _: &syn::Visibility) {
        // `pub(in path)` names a module and uses nothing of it.
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let parts = path.segments.iter().map(|part| part.ident.to_string());
        self.paths.push(parts.collect());
        visit::visit_path(self, path);
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        _ => &[],
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        syn::Meta::Path(_) | syn::Meta::NameValue(_) => false,
    })
}

fn is_keyword(part: &str) -> bool {
    matches!(part, "crate" | "self" | "super")
}

/// The module in which a path begins that stands in module `at`.
fn start(at: &[String], name: &[String]) -> Option<ModulePath> {
    match name.first()?.as_str() {
        "crate" => Some(Vec::new()),
        _ => {
            let ups = name.iter().take_while(|part| is_keyword(part));
            let ups = ups.filter(|part| *part == "super").count();
            Some(at.get(..at.len().checked_sub(ups)?)?.to_vec())
        }
    }
}

/// `broker/queue/mod.rs` is `broker::queue`, `broker/queue/shell.rs` is `broker::queue::shell`.
fn module_path(file: &Path) -> ModulePath {
    let file = file.with_extension("");
    let parts = file.iter().map(|part| part.to_string_lossy().into_owned());
    parts
        .filter(|part| !matches!(part.as_str(), "mod" | "lib"))
        .collect()
}

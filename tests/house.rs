//! Holds `src/` to the import table of ARCHITECTURE.md: which room may name which. The page is the rule, this reads it.
//!
//! A room is a file or folder directly under `src/`. It names another by `crate::room`, in a `use` or in a path; the
//! crate root's `main.rs` says `geoseal::room` and the keys crate is `geoseal_keys`. Comments and texts do not count,
//! nor do the `tests/` folders of rooms: what wires several rooms up for a test is wiring, like `app`.
//!
//! Two pages are held to the code as well: docs/obligations.md below, and the tables of error codes in `house/codes.rs`.

#[path = "house/codes.rs"]
mod codes;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Room → what it may name; `None` stands for "all".
type Table = BTreeMap<String, Option<BTreeSet<String>>>;

#[test]
fn every_import_is_in_the_table_of_the_architecture_page() {
    let table = table();
    let mut wrong = vec![];
    for file in sources() {
        let room = room_of(&file);
        let Some(allowed) = table.get(&room) else {
            wrong.push(format!("{}: the room `{room}` is not in the table", file.display()));
            continue;
        };
        for (line, named) in named_rooms(&fs::read_to_string(&file).expect("a source file can be read")) {
            if named != room && allowed.as_ref().is_some_and(|rooms| !rooms.contains(&named)) {
                wrong.push(format!("{}:{line}: {room} → {named}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that ARCHITECTURE.md does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_names_rooms_that_exist_and_its_arrows_point_one_way() {
    let table = table();
    let rooms: BTreeSet<String> = sources().iter().map(|f| room_of(f)).chain(["keys".into()]).collect();
    let unknown: Vec<_> = table
        .iter()
        .flat_map(|(room, may)| may.iter().flatten().chain([room]))
        .filter(|r| !rooms.contains(*r))
        .collect();
    assert!(unknown.is_empty(), "in the table, but not in src/: {unknown:?}");

    // Take away rooms that name nothing that is left, again and again: what cannot be taken away goes in a circle.
    let mut left: BTreeMap<_, _> = table.into_iter().filter_map(|(room, may)| Some((room, may?))).collect();
    while let Some(leaf) =
        left.iter().find(|(_, may)| !may.iter().any(|r| left.contains_key(r))).map(|(r, _)| r.clone())
    {
        left.remove(&leaf);
    }
    assert!(left.is_empty(), "these rooms name each other in a circle: {:?}", left.keys());
}

#[test]
fn the_reader_sees_every_way_of_naming_a_room() {
    let source = "use crate::{model::ids, seal::{Dek, model}, r#index};\n// crate::comment\nlet x = crate::blob::y(); \
                  // crate::tail\nlog(\"geoseal::access, crate::text // \\\"\", '\"');\nuse geoseal_keys::Dek;\ngeoseal::app::run();\nuse crate::gate;\n//! [`crate::doc`]\n\
                  use crate::{\n    audit::Entry,\n    edge,\n};\n$crate::tenant!()";
    let mut named: Vec<String> = named_rooms(source).into_iter().map(|(_, r)| r).collect();
    named.sort();
    assert_eq!(named, ["app", "audit", "blob", "edge", "gate", "index", "keys", "model", "seal", "tenant"]);
}

/// docs/obligations.md: each row names a test that bears its number, and each test that is named exists.
#[test]
fn every_obligation_has_a_test_that_bears_its_number() {
    let tests = tests();
    let page = fs::read_to_string(root().join("docs/obligations.md")).expect("the page is there");
    let (mut rows, mut wrong) = (BTreeSet::new(), vec![]);
    for line in page.lines().filter(|line| line.starts_with("| R") || line.starts_with("| P")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let [id, _, shown] = cells[..] else { panic!("three cells: {line}") };
        let (id, shown) = (id.trim().to_lowercase(), backticked(shown));
        wrong.extend(shown.iter().filter(|test| !tests.contains(*test)).map(|test| format!("{id}: no test {test}")));
        if !shown.iter().any(|test| test.split('_').any(|word| word == id)) {
            wrong.push(format!("{id}: no test of its row bears its number"));
        }
        assert!(rows.insert(id.clone()), "{id} stands there twice");
    }
    let owed = [21..=35, 37..=37, 40..=48, 50..=51].into_iter().flatten().map(|n: u32| format!("r{n}"));
    let held = (1..=20).filter(|n| ![9, 18, 19].contains(n)).map(|n| format!("p{n}"));
    wrong.extend(owed.chain(held).filter(|id| !rows.contains(id)).map(|id| format!("{id}: no row")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The names of all tests, those that a macro makes excepted.
fn tests() -> BTreeSet<String> {
    let (mut folders, mut names) =
        (["src", "tests", "keys/src"].map(|folder| root().join(folder)).to_vec(), BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("our own folders can be read") {
            let path = entry.expect("our own folders can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("a source file can be read");
                let after = text.split("#[test]").chain(text.split("#[tokio::test")).skip(1);
                names.extend(after.filter_map(|rest| identifier(rest.split_once("fn ")?.1)));
            }
        }
    }
    names
}

/// The rows under "| room | may name |" in ARCHITECTURE.md. Each cell lists names in backticks, or says `all`; a remark
/// may stand beside them.
fn table() -> Table {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is at the top");
    let rows = page.lines().skip_while(|l| !l.starts_with("| room | may name |")).skip(2);
    let mut table = Table::new();
    for row in rows.take_while(|l| l.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let may = backticked(cells[1]);
        let may = (!may.contains("all")).then_some(may);
        for room in backticked(cells[0]) {
            assert!(table.insert(room, may.clone()).is_none(), "a room stands in the table twice: {row}");
        }
    }
    assert!(!table.is_empty(), "ARCHITECTURE.md has its import table");
    table
}

fn backticked(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All `.rs` files under `src/`, but those of `tests/` folders.
fn sources() -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![root().join("src")], vec![]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src/ can be read") {
            let path = entry.expect("src/ can be read").path();
            if path.is_dir() {
                folders.extend((!path.ends_with("tests")).then_some(path));
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// `src/index/rows.rs` and `src/index.rs` are both of the room `index`.
fn room_of(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("src")).expect("under src/");
    let first = inside.iter().next().and_then(|p| p.to_str()).expect("a UTF-8 name");
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms a source text names, each with its line.
fn named_rooms(source: &str) -> Vec<(usize, String)> {
    let code = code_of(source);
    let mut named = vec![];
    for (prefix, whole) in [("crate::", None), ("geoseal::", None), ("geoseal_keys", Some("keys"))] {
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            match whole {
                Some(room) => named.push((line, room.to_owned())),
                None => named.extend(first_segments(&code[at + prefix.len()..]).into_iter().map(|room| (line, room))),
            }
        }
    }
    named
}

/// The source with the insides of comments and of quoted texts taken out, line for line.
fn code_of(source: &str) -> String {
    let (mut code, mut rest) = (String::new(), source);
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '"' => 1 + end_of_text(&rest[1..]),
            'r' if rest.starts_with("r#\"") => rest.find("\"#").map_or(rest.len(), |at| at + 2),
            '\'' if rest.starts_with("'\"'") => 3,
            _ => {
                code.push(next);
                rest = &rest[next.len_utf8()..];
                continue;
            }
        };
        code.extend(rest[..length].matches('\n'));
        rest = &rest[length..];
    }
    code
}

/// Where a quoted text ends, its closing quote included.
fn end_of_text(text: &str) -> usize {
    let mut escaped = false;
    let end = text.find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |at| at + 1)
}

/// The first path segment of what follows `crate::`: one, or with `{…}` one for each item at the outermost depth.
fn first_segments(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        return identifier(rest).into_iter().collect();
    };
    let (mut depth, mut start, mut items) = (0, 0, vec![]);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.into_iter().filter_map(identifier).collect()
}

fn identifier(text: &str) -> Option<String> {
    let text = text.trim_start().trim_start_matches("r#");
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

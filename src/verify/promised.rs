//! The second opinion on the schema: what SQLite's PRAGMAs say of each table, against what is in the target and what was said to be lost. The first,
//! in `objects`, plans as migrate does, and so would not miss what migrate forgets.

use crate::plan::CopyMap;
use crate::postgres::{IndexShape, SchemaObjects};
use crate::sqlite::{Promised, PromisedIndex};
use crate::verify::MissingObject;

/// Adds to `missing` what a table promises, the target does not keep, and nothing in `missing` tells of yet.
pub fn compare(map: &CopyMap, promised: &[Promised], actual: &SchemaObjects, missing: &mut Vec<MissingObject>) {
    let indexes: Vec<&IndexShape> = actual.indexes.iter().filter(|index| index.table == map.target).collect();
    let mut keys: Vec<Vec<String>> = Vec::new();
    for constraint in actual.constraints.iter().filter(|constraint| constraint.relation == map.target) {
        keys.extend(constraint.shape.strip_prefix("FOREIGN KEY ").map(|definition| items(definition).0));
    }
    // What asks for most is served first, and keeps being served: it is the one that asks for less that is lacking.
    let asks_little = |promised: &&Promised| match promised {
        Promised::Index(index) => (!index.unique, index.columns.iter().any(|(name, _)| name.is_none()), index.partial),
        Promised::ForeignKey { .. } => (false, false, false),
    };
    let mut promised: Vec<&Promised> = promised.iter().collect();
    promised.sort_by_key(asks_little);
    let serving: Vec<Vec<usize>> = promised
        .iter()
        .map(|promised| match promised {
            Promised::Index(index) => places(&indexes, |shape| keeps(map, index, shape)),
            Promised::ForeignKey { columns, .. } => {
                let columns: Vec<Option<&str>> = columns.iter().map(|column| target(map, column)).collect();
                let of_key = places(&keys, |found| found.iter().map(|found| Some(found.as_str())).eq(columns.iter().copied()));
                of_key.into_iter().map(|place| indexes.len() + place).collect()
            }
        })
        .collect();
    let served = served(&serving, indexes.len() + keys.len());
    let lacking: Vec<&Promised> = promised.into_iter().zip(served).filter_map(|(promised, served)| (!served).then_some(promised)).collect();
    for (of_indexes, kinds) in [(true, ["primary key", "unique", "index"].as_slice()), (false, &["foreign key"])] {
        let of_group = |promised: &&&Promised| matches!(promised, Promised::Index(_)) == of_indexes;
        let is_its = |object: &str| object.strip_prefix(&map.source).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let said = missing.iter().filter(|said| kinds.contains(&said.kind.as_str()) && is_its(&said.object)).count();
        missing.extend(lacking.iter().filter(of_group).skip(said).map(|promised| unsaid(map, promised)));
    }
}

fn places<T>(all: &[T], wanted: impl Fn(&T) -> bool) -> Vec<usize> {
    all.iter().enumerate().filter_map(|(place, one)| wanted(one).then_some(place)).collect()
}

/// Which promises are kept when two want two: each is given one of those that would serve it, as many of them as can be. What PostgreSQL has made of an
/// expression is not known here, so that several may serve one promise, and the first of them be the only one for another.
fn served(serving: &[Vec<usize>], number: usize) -> Vec<bool> {
    fn give(promise: usize, serving: &[Vec<usize>], seen: &mut [bool], given: &mut [Option<usize>]) -> bool {
        serving[promise].iter().any(|&place| {
            if std::mem::replace(&mut seen[place], true) {
                return false;
            }
            let is_free = given[place].is_none_or(|other| give(other, serving, seen, given));
            if is_free {
                given[place] = Some(promise);
            }
            is_free
        })
    }
    let mut given = vec![None; number];
    (0..serving.len()).map(|promise| give(promise, serving, &mut vec![false; number], &mut given)).collect()
}

fn unsaid(map: &CopyMap, promised: &Promised) -> MissingObject {
    let (kind, object) = match promised {
        Promised::Index(index) if index.primary => ("primary key", &index.name),
        Promised::Index(index) if index.unique => ("unique", &index.name),
        Promised::Index(index) => ("index", &index.name),
        Promised::ForeignKey { parent, .. } => ("foreign key", parent),
    };
    let what = match promised {
        Promised::Index(index) => index
            .columns
            .iter()
            .map(|(name, collation)| match (name, collation.as_str()) {
                (None, _) => "an expression".to_string(),
                (Some(name), "BINARY") => name.clone(),
                (Some(name), collation) => format!("{name} COLLATE {collation}"),
            })
            .collect::<Vec<_>>(),
        Promised::ForeignKey { columns, .. } => columns.clone(),
    };
    let reason = format!("SQLite keeps it on {}; the target does not, and no run has said so", what.join(", "));
    MissingObject { kind: kind.into(), object: format!("{}.{object}", map.source), reason, declared: false, differs: false }
}

fn target<'a>(map: &'a CopyMap, column: &str) -> Option<&'a str> {
    map.columns.iter().find(|known| known.source.eq_ignore_ascii_case(column)).map(|known| known.target.as_str())
}

/// True for an index that keeps the promise: as unique, over the same columns, each folded as SQLite folds it.
fn keeps(map: &CopyMap, promised: &PromisedIndex, actual: &IndexShape) -> bool {
    let list = actual.shape.split_once(" USING ").and_then(|(_, rest)| rest.find('(').map(|start| &rest[start..]));
    let Some((found, rest)) = list.map(items) else { return false };
    let folds = |item: &str, fold: &str, name: &str| item.starts_with(fold) && item.contains(name);
    actual.valid
        && (actual.unique || !promised.unique)
        && (!rest.contains(" WHERE ") || promised.partial)
        && found.len() == promised.columns.len()
        && found.iter().zip(&promised.columns).all(|(item, (name, collation))| match name.as_deref().map(|name| target(map, name)) {
            None => true,
            Some(None) => false,
            Some(Some(name)) => {
                let of_text = map.columns.iter().any(|column| column.target == name && column.conversion.kind.is_text());
                match collation.to_ascii_uppercase().as_str() {
                    "NOCASE" if of_text => folds(item, "lower(", name),
                    "RTRIM" if of_text => folds(item, "rtrim(", name),
                    _ => item == name,
                }
            }
        })
}

/// The items of the list in parentheses that a definition begins with, names without their quotes, directions and collations; and what comes after it.
fn items(definition: &str) -> (Vec<String>, &str) {
    let (mut items, mut item, mut depth, mut quote) = (Vec::new(), String::new(), 0, None);
    for (at, char) in definition.char_indices() {
        match (char, quote) {
            (char, Some(open)) if char == open => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => quote = Some(char),
            ('(', None) => depth += 1,
            (')', None) => depth -= 1,
            _ => {}
        }
        match (char, depth) {
            ('(', 1) if item.is_empty() && items.is_empty() => {}
            (',', 1) if quote.is_none() => items.push(name_of(&std::mem::take(&mut item))),
            (_, 0) => {
                items.push(name_of(&item));
                return (items, &definition[at + 1..]);
            }
            _ => item.push(char),
        }
    }
    (items, "")
}

fn name_of(item: &str) -> String {
    let item = item.trim();
    match item.strip_prefix('"') {
        // A quote within a name is written twice.
        Some(rest) => rest.replace("\"\"", "\0").split('"').next().unwrap_or_default().replace('\0', "\""),
        None if item.contains('(') => item.to_string(),
        None => item.split(' ').next().unwrap_or_default().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TypeKind;
    use crate::plan::CopyColumn;
    use crate::plan::convert::Conversion;
    use crate::postgres::Shape;

    #[test]
    fn the_columns_of_a_definition_are_found_whatever_they_are_called() {
        let of = |definition: &'static str| items(definition);
        assert_eq!(of("(a, b DESC NULLS LAST)"), (vec!["a".into(), "b".into()], ""));
        assert_eq!(of("(\"a, b\", \"x\"\"y)\" COLLATE \"C\") WHERE (a > 1)"), (vec!["a, b".into(), "x\"y)".into()], " WHERE (a > 1)"));
        assert_eq!(of("(lower(name::text), rtrim(v, ' '::text))").0, ["lower(name::text)", "rtrim(v, ' '::text)"]);
    }

    #[test]
    fn what_a_plan_forgets_is_missed_unless_it_was_said() {
        let column = CopyColumn {
            source: "name".into(),
            target: "name".into(),
            sql_type: "text".into(),
            conversion: Conversion::new(TypeKind::TEXT),
            computed: false,
        };
        let map = CopyMap { source: "t".into(), schema: "public".into(), target: "t".into(), columns: vec![column], ..CopyMap::default() };
        let index = |name: &str, shape: &str| IndexShape {
            table: "t".into(),
            name: name.into(),
            primary: false,
            unique: true,
            valid: true,
            shape: shape.into(),
            deferrable: false,
        };
        let key = PromisedIndex {
            name: "sqlite_autoindex_t_1".into(),
            primary: true,
            unique: true,
            partial: false,
            columns: vec![(Some("name".into()), "NOCASE".into())],
        };
        let promised = [Promised::Index(key), Promised::ForeignKey { columns: vec!["name".into()], parent: "p".into() }];
        let mut actual = SchemaObjects { indexes: vec![index("t_pkey", "t USING btree (name)")], ..SchemaObjects::default() };
        let mut missing = Vec::new();
        compare(&map, &promised, &actual, &mut missing);
        assert_eq!(missing.iter().map(|missing| missing.object.as_str()).collect::<Vec<_>>(), ["t.sqlite_autoindex_t_1", "t.p"]);
        // Said once, it is not said again.
        let said = missing.clone();
        compare(&map, &promised, &actual, &mut missing);
        assert_eq!(missing, said);
        // An expression's index may serve several promises: the partial one must leave the other what only that can serve it.
        assert_eq!(served(&[vec![0, 1], vec![0], vec![0]], 2), [true, true, false]);
        actual.indexes.push(index("t_folded_key", "t USING btree (lower(name))"));
        actual.constraints.push(Shape {
            relation: "t".into(),
            name: "k".into(),
            shape: "FOREIGN KEY (name) REFERENCES p(name)".into(),
            not_valid: false,
        });
        missing.clear();
        compare(&map, &promised, &actual, &mut missing);
        assert_eq!(missing, []);
    }
}

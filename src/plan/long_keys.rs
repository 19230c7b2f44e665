//! Keys and indexes over long values. A B-tree has room for some 2,700 bytes of a row, after compression: which values that is, is seen when it is
//! made. Where one has no room, there is one in a hash index: it is no longer whatever the value, and an exclusion constraint over one keeps values
//! unique as exactly as UNIQUE does.

use crate::model::{Index, IndexOrigin, Name, QualifiedName, Table, TypeKind};
use crate::plan::build::Input;
use crate::plan::decision::{Case, ObjectKind, ObjectPlan, Otherwise, Plan, TablePlan, Warning};

/// The most bytes of a value for which a B-tree has room, whatever else is in its row (of 2,704 in pages of 8 kB).
pub const KEY_BYTES: u64 = 2_600;

/// The longest value of these columns of a derived table, where it may be too long for a B-tree.
fn too_long(input: &Input<'_>, plan: &TablePlan, columns: &[usize]) -> Option<u64> {
    let profile = &input.profiles[plan.source_index];
    let of_bytes = |at: &usize| {
        let kind = plan.columns.iter().find(|column| column.source_index == *at).map(|column| &column.column_type.kind);
        kind.is_some_and(|kind| kind.is_text() || matches!(kind, TypeKind::Bytea | TypeKind::Jsonb))
    };
    let lengths = columns.iter().filter(|at| of_bytes(at)).map(|at| profile.columns[*at].max_bytes);
    lengths.max().filter(|most| *most > KEY_BYTES)
}

/// The only column of a key that may have to be kept by a hash index: it has one column, and a foreign key references none but UNIQUE and primary keys.
fn long_key(input: &Input<'_>, plan: &TablePlan, columns: &[usize]) -> Option<usize> {
    let [only] = columns else { return None };
    let table = &input.source.tables[plan.source_index];
    let name = &table.columns[*only].name;
    let mut keys =
        input.source.tables.iter().flat_map(|table| &table.foreign_keys).filter(|key| key.parent.eq_ignore_ascii_case(&table.name));
    let is_referenced = keys.any(|key| key.parent_columns.iter().any(|column| column.eq_ignore_ascii_case(name)));
    too_long(input, plan, columns).filter(|_| !is_referenced && plan.create.is_some()).map(|_| *only)
}

/// The source names of the columns whose UNIQUE may have to be kept so, by whatever collation.
pub fn of_table(input: &Input<'_>, plan: &TablePlan, table: &Table) -> Vec<String> {
    let plain = |index: &Index| index.columns.iter().map(|column| column.column).collect::<Option<Vec<usize>>>();
    let unique = table.indexes.iter().filter(|index| index.unique && index.origin != IndexOrigin::PrimaryKey);
    let long = unique.filter_map(plain).filter_map(|columns| long_key(input, plan, &columns));
    long.map(|column| table.columns[column].name.clone()).collect()
}

/// A key or an index that may be too long.
pub struct Keyed<'a> {
    pub table: &'a QualifiedName,
    pub name: &'a Name,
    pub label: &'a str,
    pub columns: &'a [usize],
    /// What a B-tree is over: columns or expressions in their order.
    pub items: &'a [String],
    pub predicate: Option<&'a str>,
    pub kind: ObjectKind,
}

impl Keyed<'_> {
    /// What it becomes where a value of its rows has no room, and what is said of it before that is known.
    pub fn otherwise(&self, input: &Input<'_>, plan: &TablePlan) -> Option<(Option<Otherwise>, Warning)> {
        let most = too_long(input, plan, self.columns)?;
        let source = |column: usize| input.source.tables[plan.source_index].columns[column].name.clone();
        let (table, name) = (self.table, self.name);
        let predicate = self.predicate.map_or(String::new(), |predicate| format!(" WHERE ({predicate})"));
        let item = self.items.first().map_or("", |item| item.trim_end_matches(" DESC NULLS LAST"));
        let (instead, form) = match (self.columns, self.kind) {
            (columns, ObjectKind::Unique) if long_key(input, plan, columns).is_some() => {
                let message = format!(
                    "is an exclusion constraint over a hash index, which keeps values unique too: one of up to {most} bytes has no room in a B-tree; ON CONFLICT cannot name its column"
                );
                let sql = format!("ALTER TABLE {table} ADD CONSTRAINT {name} EXCLUDE USING hash ({item} WITH =){predicate}");
                (
                    "it is made as an exclusion constraint over a hash index",
                    Some((sql, Warning::weaker("unique_by_hash", self.label, message))),
                )
            }
            ([_], ObjectKind::Index) => {
                let message =
                    format!("is a hash index, which serves = and no order: a value of up to {most} bytes has no room in a B-tree");
                let sql = format!("CREATE INDEX {name} ON {table} USING hash ({item}){predicate}");
                ("it is made as a hash index", Some((sql, Warning::weaker("index_by_hash", self.label, message))))
            }
            _ => ("it is not made, and what is left is an index over sha256() of the values", None),
        };
        let note = format!(
            "is over values of up to {most} bytes, and a B-tree has room for some 2,700 of a row, compressed: PostgreSQL refuses a row that comes later and needs more; if one that is here needs more, {instead}"
        );
        let otherwise = form.zip(self.columns.first()).map(|((sql, warning), column)| Otherwise {
            case: Case::NoRoom { column: source(*column) },
            statements: vec![sql],
            warning,
        });
        Some((otherwise, Warning::note("key_too_long", self.label, note)))
    }
}

/// What becomes of a trigger when one of the keys that its ON CONFLICT names is an exclusion constraint.
pub fn unnamed_key(plan: &Plan, arbiters: &[(String, String)], label: &str) -> Option<Otherwise> {
    let is_key = |object: &ObjectPlan, (relation, name): &(String, String)| {
        let of_it = object.table.is_some_and(|table| plan.tables[table].source.eq_ignore_ascii_case(relation));
        let over_it = matches!(object.no_room(), Some(column) if column.eq_ignore_ascii_case(name));
        object.kind == ObjectKind::Unique && of_it && over_it
    };
    let named = |object: &ObjectPlan| arbiters.iter().any(|arbiter| is_key(object, arbiter));
    let keys: Vec<usize> = (0..plan.objects.len()).filter(|place| named(&plan.objects[*place])).collect();
    let (_, column) = arbiters.first()?;
    let message = format!("ON CONFLICT of {column}, whose key is an exclusion constraint there");
    (!keys.is_empty()).then(|| Otherwise {
        case: Case::Keys(keys),
        statements: Vec::new(),
        warning: Warning::loss(ObjectKind::Trigger, label, message),
    })
}

impl ObjectPlan {
    /// The source name of its column, where a value of that may have no room in its first form.
    pub fn no_room(&self) -> Option<&str> {
        match &self.otherwise.as_ref()?.case {
            Case::NoRoom { column } => Some(column),
            Case::Keys(_) => None,
        }
    }
}

impl Plan {
    /// Decides what was open of these keys and indexes, which have room for every value or have not, and of what stands on them.
    pub fn settle(&mut self, tried: &[(usize, bool)]) {
        let has_room = |place: usize| tried.iter().find(|(known, _)| *known == place).map(|(_, has_room)| *has_room);
        let mut not_made = Vec::new();
        for place in 0..self.objects.len() {
            let first_form = match self.objects[place].otherwise.as_ref().map(|otherwise| &otherwise.case) {
                None => None,
                Some(Case::NoRoom { .. }) => has_room(place),
                Some(Case::Keys(keys)) if keys.iter().any(|key| has_room(*key) == Some(false)) => Some(false),
                Some(Case::Keys(keys)) => keys.iter().all(|key| has_room(*key) == Some(true)).then_some(true),
            };
            let object = &mut self.objects[place];
            let Some((stays, otherwise)) = first_form.zip(object.otherwise.take_if(|_| first_form.is_some())) else { continue };
            if stays {
                continue;
            }
            if otherwise.statements.is_empty() {
                not_made.push(place);
                self.todo.push(object.todo(otherwise.warning.message.clone()));
            }
            object.statements = otherwise.statements;
            self.warnings.push(otherwise.warning);
        }
        // Those are triggers, after which no key comes: the places of keys stay what they were.
        for place in not_made.into_iter().rev() {
            self.objects.remove(place);
        }
    }
}

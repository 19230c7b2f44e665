//! What a candlefish registry is: the mapping of its SQLite file into the tables of `migrations/`, and the queries of its application.

pub mod queries;

use crate::model::Schema;

/// The built-in mapping, in the format of `--mapping FILE.toml`.
pub const MAPPING: &str = include_str!("mapping.toml");

/// Why a file is a registry: `services` has what every version of it had. None when it has not.
pub fn evidence(schema: &Schema) -> Option<String> {
    let columns = ["id", "name", "port", "group_name", "status"];
    let services = schema.table("services")?;
    columns.iter().all(|column| services.column_index(column).is_some()).then(|| format!("services has {}", columns.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_to_a_user_is_made_as_the_user_is() {
        let mapping: toml::Table = MAPPING.parse().unwrap();
        let transform = |table: &str, column: &str| mapping["tables"][table]["columns"][column]["transform"].as_str().unwrap().to_string();
        let id = transform("users", "id");
        assert_eq!(id, "uuid8:users");
        assert_eq!(transform("sessions", "user_id"), id);
        assert_eq!(transform("dashboards", "user_id"), id);
    }
}

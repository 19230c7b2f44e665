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

/// What a registry's own schema in SQLite has and the tables of `migrations/` keep in another form, on purpose: kind, object, and how what a
/// comparison of the schemas says of it ends.
const KEPT_OTHERWISE: [(&str, &str, &str); 2] = [
    // Lists are in the order of group and name.
    ("index", "services.idx_services_group", "services USING btree (group_name)"),
    // Newest first.
    ("index", "health_metrics.idx_health_metrics_service", "health_metrics USING btree (service_id, created_at)"),
];

/// True for what is no loss of this file, but the registry's own difference between its two schemas.
pub fn keeps_otherwise(kind: &str, object: &str, reason: &str) -> bool {
    KEPT_OTHERWISE.iter().any(|known| (known.0, known.1) == (kind, object) && reason.ends_with(known.2))
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

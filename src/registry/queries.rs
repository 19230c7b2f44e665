//! The queries of the registry's application: what may be kept, under which tags, and what a change makes old.
//!
//! | tag | what is kept under it |
//! |---|---|
//! | `services` | lists of services |
//! | `service:ID` | one service |
//! | `metrics:ID` | probes of one service |
//! | `dashboard` | aggregates over all |
//! | `user:UUID` | one user's profile |
//! | `session:HASH`, `sessions` | one session; all of them. Checked in Redis at every use |

use std::time::Duration;

use crate::model::ParamType::{Bool, Int4, Int8, Text, Timestamptz, Uuid};
use crate::model::{Query, Uuid as UserId};

/// A list may be given so long past its time when the database is down: it is what a dashboard shows, with its age.
const GRACE: Duration = Duration::from_secs(600);

pub const SERVICES: Query = Query::cached("services", include_str!("queries/services.sql"), &[]).tags(&["services"]).grace(GRACE);
pub const SERVICES_OF_GROUP: Query =
    Query::cached("services of a group", include_str!("queries/services_of_group.sql"), &[Text]).tags(&["services"]).grace(GRACE);
pub const SERVICES_WITH_STATUS: Query =
    Query::cached("services with a status", include_str!("queries/services_with_status.sql"), &[Text]).tags(&["services"]).grace(GRACE);
pub const SERVICE: Query = Query::cached("service", include_str!("queries/service.sql"), &[Int8]).tags(&["service:{1}"]).grace(GRACE);
/// Asked every five seconds by every instance.
pub const RUNNING_SERVICES: Query =
    Query::cached("running services", include_str!("queries/running_services.sql"), &[]).tags(&["services"]).ttl(Duration::from_secs(5));
pub const HEALTH_METRICS: Query =
    Query::cached("health metrics", include_str!("queries/health_metrics.sql"), &[Int8, Timestamptz, Timestamptz, Int8])
        .tags(&["metrics:{1}"])
        .ttl(Duration::from_secs(60))
        .grace(GRACE);
/// The view behind it is refreshed by the clock, so its answer ends by the clock.
pub const DASHBOARD: Query =
    Query::cached("dashboard", include_str!("queries/dashboard.sql"), &[]).tags(&["dashboard"]).ttl(Duration::from_secs(60)).grace(GRACE);
pub const SESSION: Query = Query::cached("session", include_str!("queries/session.sql"), &[Text])
    .tags(&["session:{1}", "sessions"])
    .ttl(Duration::from_secs(60))
    .required();
pub const PROFILE: Query = Query::cached("profile", include_str!("queries/profile.sql"), &[Uuid]).tags(&["user:{1}"]);

pub const SET_STATUS: Query =
    Query::write("set status", include_str!("queries/set_status.sql"), &[Int8, Text]).tags(&["service:{1}", "services", "dashboard"]);
pub const EDIT_SERVICE: Query = Query::write("edit service", include_str!("queries/edit_service.sql"), &[Int8, Text, Int4, Text, Text])
    .tags(&["service:{1}", "services", "dashboard"])
    .idempotent();
pub const RECORD_PROBE: Query = Query::write("record probe", include_str!("queries/record_probe.sql"), &[Int8, Text, Int4, Int4, Bool])
    .tags(&["metrics:{1}", "service:{1}", "services"]);
/// The same where the service's health is what it was, as nearly always: lists go on. Where it is not, no row is affected, and
/// [`RECORD_PROBE`] has to be asked. Lists show when a service was last looked at, too; by that alone they do not grow old, or they never could
/// be kept.
pub const RECORD_STEADY_PROBE: Query =
    Query::write("record steady probe", include_str!("queries/record_steady_probe.sql"), &[Int8, Text, Int4, Int4, Bool])
        .tags(&["metrics:{1}", "service:{1}"]);
pub const END_SESSION: Query =
    Query::write("end session", include_str!("queries/end_session.sql"), &[Text]).tags(&["session:{1}"]).required().idempotent();

/// Every query, for who declares them all.
pub const QUERIES: [Query; 14] = [
    SERVICES,
    SERVICES_OF_GROUP,
    SERVICES_WITH_STATUS,
    SERVICE,
    RUNNING_SERVICES,
    HEALTH_METRICS,
    DASHBOARD,
    SESSION,
    PROFILE,
    SET_STATUS,
    EDIT_SERVICE,
    RECORD_PROBE,
    RECORD_STEADY_PROBE,
    END_SESSION,
];

/// What a change to this user, made elsewhere, makes old. Which sessions are the user's only the database knows, so all are looked at again.
pub fn user_tags(user: UserId) -> Vec<String> {
    vec![format!("user:{user}"), "sessions".to_string()]
}

/// What a change to this service, made elsewhere, makes old.
pub fn service_tags(service: i64) -> Vec<String> {
    vec![format!("service:{service}"), format!("metrics:{service}"), "services".to_string(), "dashboard".to_string()]
}

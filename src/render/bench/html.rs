//! `bench --html`: one file with everything in it, for a browser without a network.

use anyhow::Result;

use crate::bench::BenchReport;

/// The page, with a place for the report.
const PAGE: &str = include_str!("page.html");
const PLACE: &str = "/*REPORT*/";

/// So many first bytes of a file say whether it is such a page.
pub const BENCH_PAGE_HEAD: usize = 1024;

/// True of what begins as a page of any version does.
pub fn is_bench_page(start: &[u8]) -> bool {
    let start = String::from_utf8_lossy(start);
    start.starts_with("<!DOCTYPE html>") && start.contains("<title>candlefish bench</title>")
}

/// The report as a page of its own.
pub fn bench_html(report: &BenchReport) -> Result<String> {
    // Who opens the page has not seen what was said beside the run.
    let mut shown = serde_json::to_value(report)?;
    shown["warnings"] = super::warnings(report).into();
    // Within a script, `</script>` and `<!--` would end or change it, wherever they stand.
    let json = serde_json::to_string(&shown)?.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    Ok(PAGE.replacen(PLACE, &json, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_needs_no_network_and_its_data_cannot_break_out() {
        for far in ["http://", "https://", "<link", "@import", "src="] {
            assert!(
                !PAGE.contains(far) || far == "http://" && PAGE.matches(far).count() == PAGE.matches("http://www.w3.org/2000/svg").count(),
                "{far}"
            );
        }
        let text = include_str!("../../bench/compare/result.json");
        let mut report: BenchReport = serde_json::from_str(text).unwrap();
        report.ended_early = Some("the server has gone".to_string());
        report.notes.push("</script><script>alert(1)</script><!--".to_string());
        let page = bench_html(&report).unwrap();
        assert!(is_bench_page(&page.as_bytes()[..BENCH_PAGE_HEAD]));
        assert_eq!(page.matches("</script>").count(), PAGE.matches("</script>").count());
        assert!(page.contains("\"warnings\":[\"the run ended early: the server has gone\"]"));
        assert!(page.contains("\\u003c/script>") && !page.contains("<!--") && !page.contains(PLACE));
    }
}

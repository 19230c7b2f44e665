//! Files of rules, read and tried.

use std::io::Write as _;

use crate::support::Case;

#[test]
fn rules_are_checked_and_tried() {
    let case = Case::new("rules");
    let write = |name: &str, text: &str| std::fs::write(case.dir().join(name), text).unwrap();
    write("strategy.yaml", include_str!("../../../src/monitor/strategy.yaml"));
    case.run("monitor rules check strategy.yaml").exit(0).stdout_has("connection_pool_exhaustion  critical  pool_usage > 90%");
    write("bad.yaml", "alerts:\n  a:\n    condition: pool_usage > 100ms\n");
    case.run("monitor rules check bad.yaml").exit(2).stderr_has("bad.yaml:3:32: pool_usage is counted in ratios, and ms counts time");
    // All that is wrong is said at once, each with its place.
    write("worse.yaml", "alerts:\n  a:\n    condition: pool_usage > 100ms\n    severty: info\n  b: {condition: p95 > 1s, for: soon}\n");
    let worse = case.run("monitor rules check worse.yaml").exit(2);
    for line in ["error: read the rules: worse.yaml has 3 mistakes:", "  worse.yaml:4:5: ", "  worse.yaml:3:32: ", "  worse.yaml:5:33: "] {
        assert!(worse.stderr.lines().any(|there| there.starts_with(line)), "{line}: {worse}");
    }
    case.run("monitor rules check nowhere.yaml").exit(2).stderr_has("read nowhere.yaml");
    // A device has no end, a pipe has one; and what is no file keeps no state.
    for line in ["rules check /dev/zero", "rules test /dev/full", "--once --rules /dev/zero -d postgresql://x@127.0.0.1:1/x"] {
        case.run(&format!("monitor {line}")).exit(2).stderr_has("longer than 1 MiB");
    }
    for device in ["/dev/null", "/dev/zero"] {
        case.run(&format!("monitor --once --state-file {device} -d postgresql://x@127.0.0.1:1/x")).exit(2).stderr_has("it is no file");
    }
    let line = "monitor --serve 127.0.0.1:0 --token-file /dev/zero -d postgresql://x@127.0.0.1:1/x";
    case.run(line).exit(2).stderr_has("longer than 64 KiB");
    let mut piped = case.command();
    let mut child = piped.args(["monitor", "rules", "check", "/dev/stdin"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"alerts:\n  a: {condition: error_rate >= 1}\n  b: {condition: error_rate >= 0%}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // What is not written is said.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("a: no unit is written, and its limit is taken as 100 %"), "{said}");
    // Nor what is no alarm: one that never comes is an error, one that is always there may be meant so.
    assert!(said.contains("b: it holds whatever happens: error_rate is between 0 and 100 %") && !said.contains("a: it holds"), "{said}");
    write("never.yaml", "alerts:\n  a:\n    condition: error_rate > 101%\n");
    case.run("monitor rules check never.yaml").exit(2).stderr_has("never.yaml:3:29: error_rate is between 0 and 100 %: this never holds");
    write(
        "templates.yaml",
        "alerts:\n  a:\n    condition: error_rate > 1%\n    labels: {of: '{{ $value }}'}\n    annotations: {x: '{{ $value }} {{ query \"up\" }}'}\n",
    );
    let checked = case.run("monitor rules check templates.yaml").exit(0);
    for template in ["{{ query \"up\" }}", "{{ $value }}"] {
        assert_eq!(checked.stderr.matches(&format!("a: {template} is told as it is written")).count(), 1, "{checked}");
    }
    // Prometheus's are not ours.
    write("prometheus.yaml", &case.run("monitor export prometheus-rules").exit(0).stdout);
    case.run("monitor rules check prometheus.yaml")
        .exit(2)
        .stderr_has("prometheus.yaml:6:1: these are rules for Prometheus")
        .stderr_has("promtool");
    write("exported.yaml", &case.run("monitor export promtool-test --rules-file prometheus.yaml").exit(0).stdout);
    case.run("monitor rules test exported.yaml").exit(2).stderr_has("these are rules for Prometheus").stderr_has("promtool test rules");
    let test = |wanted: &str| {
        format!(
            "rule_files: [strategy.yaml]\nevaluation_interval: 15s\ntests:\n- name: full\n  input_series:\n  - {{series: 'candlefish_pool_in_use{{app_instance=\"a\"}}', values: '5x3 20x9 5x9'}}\n  \
             - {{series: 'candlefish_pool_max{{app_instance=\"a\"}}', values: '20x30'}}\n  alert_rule_test:\n  - {{eval_time: 2m, alertname: connection_pool_exhaustion, exp_state: {wanted}}}\n"
        )
    };
    write("test.yaml", &test("firing"));
    case.run("monitor rules test test.yaml").exit(0).stdout_has("full  2m    connection_pool_exhaustion  firing").stderr_has("0 failed");
    write("test.yaml", &test("pending"));
    case.run("monitor rules test test.yaml").exit(1).stderr_has("connection_pool_exhaustion at 2m is firing, and should be pending");
    write("test.yaml", &test("firing").replace("exp_state: firing", "exp_alerts: [{exp_labels: {severity: info, team: data}}]"));
    case.run("monitor rules test test.yaml")
        .exit(1)
        .stderr_has("label severity is \"critical\", and should be \"info\"")
        .stderr_has("label team is not there, and should be \"data\"")
        .stderr_has("1 test, 1 expectation, 2 failed");
}

/// What was not tried has not passed.
#[test]
fn a_test_that_tries_nothing_is_an_error_where_it_stands() {
    let case = Case::new("nothing-tried");
    std::fs::write(case.dir().join("strategy.yaml"), include_str!("../../../src/monitor/strategy.yaml")).unwrap();
    let strategy = "rule_files: [strategy.yaml]\n";
    let full = "  input_series:\n  - {series: candlefish_pool_in_use, values: '20x9'}\n  - {series: candlefish_pool_max, values: '20x9'}\n";
    let quiet = "  alert_rule_test:\n  - {eval_time: 1m, alertname: query_error_rate}\n";
    let fires = "  alert_rule_test:\n  - {eval_time: 2m, alertname: connection_pool_exhaustion, exp_alerts: [{}]}\n";
    for (text, said) in [
        ("tests: []\n".to_string(), "test.yaml:2:8: there is no test in it"),
        (format!("tests:\n- name: a\n{full}"), "test.yaml:3:3: a: it expects nothing"),
        (format!("tests:\n- name: a\n{full}  alert_rule_test: []\n"), "test.yaml:3:3: a: it expects nothing"),
        (
            format!("tests:\n- name: a\n{full}  promql_expr_test:\n  - {{expr: ALERTS, eval_time: 1m}}\n"),
            "test.yaml:3:3: all that is expected is PromQL, which only promtool tries",
        ),
        (format!("tests:\n- name: a\n{quiet}"), "test.yaml:5:32: a: query_error_rate reads none of the input series"),
        (format!("tests:\n- name: a\n  input_series: []\n{quiet}"), "test.yaml:6:32: a: query_error_rate reads none of the input series"),
        (format!("tests:\n- name: a\n{full}{quiet}"), "test.yaml:8:32: a: query_error_rate reads none of the input series"),
        // One that it needs is not there, or not of whom it is about.
        (
            "tests:\n- input_series:\n  - {series: candlefish_pool_in_use, values: '20x9'}\n  alert_rule_test:\n  \
             - {eval_time: 1m, alertname: connection_pool_exhaustion}\n"
                .to_string(),
            "test.yaml:6:32: test 1: connection_pool_exhaustion reads none of the input series; write candlefish_pool_in_use and candlefish_pool_max",
        ),
        (format!("tests:\n- name: a\n{}{fires}", full.replace("'20x9'", "' '")), "test.yaml:5:47: a: there is no value"),
        (format!("tests:\n- name: a\n{}{fires}", full.replace("20x9", "2Ox9")), "test.yaml:5:47: a: \"2Ox9\" is no value"),
        (
            format!("tests:\n- name: a\n{}{fires}", full.replace("series: candlefish_pool_max", "series: 'candlefish_pool_max{a=1'")),
            "test.yaml:6:14: a: candlefish_pool_max{a=1: this { has no }",
        ),
        (
            format!("tests:\n- name: a\n{full}{}", fires.replace("pool_exh", "pool_ech")),
            "test.yaml:8:32: a: there is no alert \"connection_pool_echaustion\"; did you mean connection_pool_exhaustion?",
        ),
        (format!("tests:\n- name: a\n{full}{}", fires.replace("2m", "soon")), "test.yaml:8:17: a: \"soon\" is no time"),
        (
            format!("tests:\n- name: a\n{full}{}", fires.replace("2m", "200d")),
            "test.yaml:8:17: a: \"200d\" is more than 100000 evaluations",
        ),
        (format!("tests:\n- name: a\n{}{fires}", full.replace("20x9", "20x900000")), "test.yaml:5:47: a: more than 100000 values"),
        (
            format!("tests:\n- name: a\n{full}{}", fires.replace("exp_alerts: [{}]", "exp_state: fireing")),
            "test.yaml:8:71: a: \"fireing\" is no state: inactive, pending, firing or resolved",
        ),
        (format!("evaluation_interval: never\ntests:\n- name: a\n{full}{fires}"), "test.yaml:2:22: \"never\" is no interval"),
        (format!("tests:\n- name: a\n{full}{}", fires.replace("exp_alerts", "exp_alert")), "did you mean exp_alerts?"),
    ] {
        std::fs::write(case.dir().join("test.yaml"), format!("{strategy}{text}")).unwrap();
        case.run("monitor rules test test.yaml").exit(2).stderr_has(said);
    }
    // Two of one name are told apart by nobody.
    std::fs::write(case.dir().join("test.yaml"), format!("rule_files: [strategy.yaml, strategy.yaml]\ntests:\n- name: a\n{full}{fires}"))
        .unwrap();
    case.run("monitor rules test test.yaml").exit(2).stderr_has("test.yaml:1:29: the alert database_slow_queries is in another file, too");
    // That no series at all is an alarm is tried without any.
    std::fs::write(case.dir().join("none.yaml"), "alerts:\n  gone: {condition: error_rate > 1%, on_no_data: firing}\n").unwrap();
    let gone = "rule_files: [none.yaml]\ntests:\n- alert_rule_test:\n  - {eval_time: 0s, alertname: gone, exp_alerts: [{}]}\n";
    std::fs::write(case.dir().join("test.yaml"), gone).unwrap();
    case.run("monitor rules test test.yaml").exit(0);
    // What promtool has to try beside it is said.
    let both = format!("{strategy}tests:\n- name: a\n{full}{fires}  promql_expr_test:\n  - {{expr: ALERTS, eval_time: 1m}}\n");
    std::fs::write(case.dir().join("test.yaml"), both).unwrap();
    case.run("monitor rules test test.yaml").exit(0).stderr_has("1 of promql_expr_test were not tried");
}

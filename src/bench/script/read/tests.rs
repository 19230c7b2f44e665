//! Scripts as people write them, right and wrong.

use super::*;
use crate::bench::script::{Random, Value, evaluate, is_true};

fn script(text: &str) -> (Script, Names) {
    let mut names = Names::new(3, 42);
    let script = read("t.sql", text, 1, false, &mut names, &mut 0).unwrap_or_else(|fault| panic!("{}", fault.at("t.sql", text)));
    (script, names)
}

/// The variables after the script, its statements taken as read.
fn run(text: &str) -> impl Fn(&str) -> String + use<> {
    let (script, names) = script(text);
    let mut variables = names.first_values();
    let mut random = Random::new(1);
    let mut at = 0;
    while at < script.commands.len() {
        at += 1;
        match &script.commands[at - 1] {
            Command::Set(slot, expression, _) => variables[slot.index()] = evaluate(expression, &variables, &mut random).unwrap(),
            Command::Unless(condition, target, _) => {
                let holds = is_true(&evaluate(condition, &variables, &mut random).unwrap()).unwrap();
                at = if holds { at } else { *target };
            }
            Command::Jump(target) => at = *target,
            _ => {}
        }
    }
    move |name| variables[names.find(name).unwrap().index()].to_string()
}

#[test]
fn expressions_come_to_what_pgbench_says() {
    // Each by pgbench 15: `pgbench -n -t 1 -D default_seed=…` and debug().
    for (expression, expected) in [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("7 / 2", "3"),
        ("-7 / 2", "-3"),
        ("7 / 2.0", "3.5"),
        ("-7 % 3", "-1"),
        ("1 << 3 | 1", "9"),
        ("~5", "-6"),
        ("5 # 1 & 7", "4"),
        ("- -3", "3"),
        ("-9223372036854775808", "-9223372036854775808"),
        (".5 * 4", "2"),
        ("1e2", "100"),
        ("1 < 2 and not 3 < 2", "true"),
        ("null is null", "true"),
        ("(null = 1) is not null", "false"),
        ("1 is notnull", "!"),
        ("null or true", "true"),
        ("null and true", "NULL"),
        ("case when 1 > 2 then 10 when true then 20 else 30 end", "20"),
        ("case when false then 1 end", "NULL"),
        ("greatest(1, 5, 3, 2, 4)", "5"),
        ("least(1.5, 2)", "1.5"),
        ("int(2.5)", "2"),
        ("int(3.5)", "4"),
        ("mod(10, 3)", "1"),
        ("power(2, 10)", "1024"),
        ("abs(-17)", "17"),
        ("hash(10, 5432)", "-5817877081768721676"),
        ("hash_fnv1a(10, 5432)", "-7793829335365542153"),
        ("hash_murmur2(10, 5432)", "-5817877081768721676"),
        ("permute(0, 10, 5432)", "6"),
        ("permute(5, 1000, 5432)", "46"),
        ("permute(-1, 1000, 7)", "370"),
        (":scale * 2", "6"),
    ] {
        let text = format!("\\set x {expression}\n");
        let mut names = Names::new(3, 42);
        let Ok(script) = read("t.sql", &text, 1, false, &mut names, &mut 0) else {
            assert_eq!(expected, "!", "{expression}");
            continue;
        };
        let Command::Set(_, parsed, _) = &script.commands[0] else { panic!("{expression}") };
        let value = evaluate(parsed, &names.first_values(), &mut Random::new(1)).unwrap().to_string();
        assert_eq!(value, expected, "{expression}");
    }
}

#[test]
fn what_cannot_be_computed_is_said() {
    for (expression, expected) in [
        ("1 / 0", "division by zero"),
        ("9223372036854775807 + 1", "an integer is out of range"),
        ("random(5, 1)", "the range of a random number is empty: 5 to 1"),
        ("random_zipfian(1, 5, 1)", "the parameter of random_zipfian() is from 1.001 to 1000, not 1"),
        ("random_gaussian(1, 5, 1.5)", "the parameter of random_gaussian() is at least 2, not 1.5"),
        ("int(1e300)", "is out of an integer's range"),
        ("permute(1, 0)", "the size of permute() is above 0, not 0"),
    ] {
        let (script, names) = script(&format!("\\set x {expression}"));
        let Command::Set(_, parsed, _) = &script.commands[0] else { panic!("{expression}") };
        let error = evaluate(parsed, &names.first_values(), &mut Random::new(1)).unwrap_err().to_string();
        assert!(error.contains(expected), "{expression}: {error}");
    }
}

#[test]
fn conditions_choose_one_branch() {
    for (first, second, expected) in [("true", "true", "1"), ("false", "true", "2"), ("false", "0", "3"), ("null", "5", "2")] {
        let text = format!("\\set x 0\n\\if {first}\n\\set x 1\n\\elif {second}\n\\set x 2\n\\else\n\\set x 3\n\\endif\n\\set y :x + 10");
        let value = run(&text);
        assert_eq!(value("x"), expected, "{first} {second}");
    }
    let nested = run("\\set x 0\n\\if true\n\\if false\n\\set x 1\n\\endif\n\\set y 7\n\\endif");
    assert_eq!((nested("x"), nested("y")), ("0".into(), "7".into()));
}

#[test]
fn a_statement_has_a_parameter_for_each_variable() {
    let (script, names) = script("\\set a 1\nUPDATE t SET x = x + :a WHERE y = :a AND z = '10:b'::time;\nSELECT 1;");
    let Command::Statement(update) = &script.commands[1] else { panic!("{:?}", script.commands) };
    assert_eq!(update.sql, "UPDATE t SET x = x + $1 WHERE y = $2 AND z = '10:b'::time");
    let mut variables = names.first_values();
    variables[names.find("a").unwrap().index()] = Value::Int(5);
    assert_eq!(update.simple(&variables), "UPDATE t SET x = x + 5 WHERE y = 5 AND z = '10:b'::time");
    assert!(!update.reads_only && matches!(&script.commands[2], Command::Statement(select) if select.reads_only && select.index == 1));
}

#[test]
fn mistakes_have_their_line_and_column() {
    for (text, expected) in [
        ("SELECT 1;\n\\set x 1 +\n", "t.sql:2:11: the end stands where a value should"),
        ("\\set x randm(1, 2)", "t.sql:1:8: there is no function randm(); did you mean random()?"),
        ("\\set x random(1)", "t.sql:1:8: random() takes 2 arguments, not 1"),
        ("\\set aid 1\nSELECT :aidd;", "t.sql:2:8: the variable :aidd is never set; did you mean :aid?"),
        ("\\sett x 1", "t.sql:1:1: there is no command \\sett; did you mean \\set?"),
        ("\\if true\nSELECT 1;", "t.sql:1:1: \\if without its \\endif"),
        ("SELECT 1;\n\\endif", "t.sql:2:1: \\endif without its \\if"),
        ("\\if 1\n\\else\n\\else\n\\endif", "t.sql:3:1: \\else behind \\else"),
        ("\\sleep 1 h", "t.sql:1:8: \\sleep knows us, ms and s, not \"h\""),
        ("\\sleep x", "t.sql:1:8: \\sleep takes a number or a variable, and us, ms or s"),
        ("\\set x 99999999999999999999", "t.sql:1:8: 99999999999999999999 is too large an integer"),
        ("\\set é? 1", "t.sql:1:6: \"é?\" is no name of a variable"),
        ("SELECT é, 'x", "t.sql:1:11: the text that ' opens is never closed"),
        ("\\shell ls", "t.sql:1:1: \\shell: a load test runs no programs of the shell"),
        ("\\set a 1\nSELECT ':a';", "t.sql:2:9: the variable :a stands within quotes, where only -M simple can put its value"),
        ("-- nothing\n", "t.sql:1:1: the script is empty"),
        ("\\set x 1 ? 2", "t.sql:1:10: an expression has no '?'"),
        ("\\set x (1", "t.sql:1:10: the end stands where \")\" should"),
    ] {
        let fault = read("t.sql", text, 1, false, &mut Names::new(1, 1), &mut 0).expect_err(text);
        assert_eq!(fault.at("t.sql", text).message, expected, "{text}");
    }
}

#[test]
fn a_pause_has_a_unit() {
    let pause = |text: &str| match &script(text).0.commands[..] {
        [.., Command::Sleep(Pause::For(time), _)] => *time,
        commands => panic!("{commands:?}"),
    };
    assert_eq!(pause("\\sleep 10 ms"), Duration::from_millis(10));
    assert_eq!(pause("\\sleep 10us"), Duration::from_micros(10));
    assert_eq!(pause("\\sleep 2"), Duration::from_secs(2));
    let (variable, _) = script("\\set t 5\n\\sleep :t ms");
    assert!(matches!(&variable.commands[1], Command::Sleep(Pause::Variable(_, unit), _) if *unit == Duration::from_millis(1)));
}

#[test]
fn writing_is_told_by_the_words() {
    for (sql, expected) in [
        ("SELECT 1", true),
        ("select a from t for update", false),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT 1", false),
        ("INSERT INTO t VALUES (1)", false),
        ("BEGIN", true),
        ("CALL p()", false),
    ] {
        assert_eq!(reads_only(sql), expected, "{sql}");
    }
}

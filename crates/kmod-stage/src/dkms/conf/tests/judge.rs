//! bash runs fragments that are made here; what is known for certain must be what bash has.

use std::process::Command;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::super::script::Script;
use super::Setting;

const NAMES: [&str; 3] = ["A", "B", "C"];

fn word() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "x",
        "1",
        "-",
        "/",
        ".",
        "=",
        "#",
        "$A",
        "${B}",
        "${A[1]}",
        "$C",
        "\"\"",
        "'a b'",
        "\"$A b\"",
        "\\ ",
        "\\$",
        "\"\\\"\"",
        "\"\\n\"",
        "\"\\\n\"",
        "'\\'",
        "\"'\"",
        "${A:-z}",
        "$(printf %s q)",
        "`printf %s r`",
        "\"$(printf '%s)' ')')\"",
        "$((1+1))",
        "\"${B:+\"$A\"}\"",
        "\\\n",
        "+",
        "[",
        "~",
        "é",
        "\"`printf %s \"s\"`\"",
    ]);
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn assignment() -> impl Strategy<Value = String> {
    let target = prop::sample::select(vec!["A", "B", "C", "A[0]", "A[1]", "B[2]", "A[1+1]", "C[$((1))]"]);
    let operator = prop::sample::select(vec!["=", "=", "=", "+="]);
    let one = (target, operator, word()).prop_map(|(target, operator, word)| format!("{target}{operator}{word}"));
    let list = (
        prop::sample::select(NAMES.to_vec()),
        prop::sample::select(vec!["=", "+="]),
        prop::collection::vec(word(), 0..3),
    );
    let list = list.prop_map(|(name, operator, words)| format!("{name}{operator}({})", words.join(" ")));
    prop_oneof![5 => one, 1 => list]
}

fn statement() -> impl Strategy<Value = String> {
    let a = assignment;
    prop_oneof![
        16 => a(),
        2 => (a(), a()).prop_map(|(a, b)| format!("{a} {b}")),
        1 => a().prop_map(|a| format!("export X=1; {a} ;")),
        1 => a().prop_map(|a| format!("{a} true")),
        1 => a().prop_map(|a| format!("false && {a}")),
        1 => a().prop_map(|a| format!("true ||\n\n{a}")),
        1 => a().prop_map(|a| format!("true &&\n{a}")),
        1 => a().prop_map(|a| format!("{a} | cat")),
        1 => a().prop_map(|a| format!("( {a} )")),
        1 => (a(), a()).prop_map(|(a, b)| format!("if [ x ]; then\n{a}\nelse {b}\nfi")),
        1 => (a(), a()).prop_map(|(a, b)| format!("case \"$A\" in\n*x*|y) {a} ;;\n*) {b}\nesac")),
        1 => a().prop_map(|a| format!("for B in 1 2; do {a}; done")),
        1 => a().prop_map(|a| format!("f() {{ {a}\n}}")),
        1 => a().prop_map(|a| format!("function f {{\n{a}\n}}")),
        1 => a().prop_map(|a| format!("{{ {a}; }} && true")),
        1 => prop::sample::select(vec!["f", "unset A", "unset 'B[2]'", "eval B=7", "((C=5, A++))", "let C=3", "read -r A <<<z",
            "printf -v B %s w", "[[ a =~ (a|b) ]] && C=9", "cat <<A >/dev/null\nA=8 \"\nA", ": # A=1 '", "return", "declare A=k"])
            .prop_map(str::to_owned),
    ]
}

/// One after the other, each in a shell of its own: the values of all elements, divided by bytes that no value has.
const RUN: &str = r#"f() { :; }
for file in "$1"/*; do
  bash -n "$file" || printf '?'
  (
    . "$file" >/dev/null 2>&1
    for name in A B C; do
      declare -n array=$name
      for index in "${!array[@]}"; do printf '%s\037%s\037%s\036' "$name" "$index" "${array[$index]}"; done
    done
  )
  printf '\035'
done 2>/dev/null"#;

#[test]
fn what_is_known_is_what_bash_has() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = prop::collection::vec(statement(), 1..7);
    let directory = tempfile::tempdir().unwrap();
    let mut scripts = Vec::new();
    for number in 0..700 {
        let text = strategy.new_tree(&mut runner).unwrap().current().join("\n") + "\n";
        std::fs::write(directory.path().join(format!("{number:05}")), &text).unwrap();
        scripts.push(text);
    }
    let output = match Command::new("bash")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .args(["-c", RUN, "bash"])
        .arg(directory.path())
        .output()
    {
        Ok(output) => output,
        Err(error) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "bash: {error}");
            eprintln!("left out: bash: {error}");
            return;
        }
    };
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<&str> = answers.split_terminator('\u{1d}').collect();
    assert_eq!(answers.len(), scripts.len());
    let (mut known, mut unknown, mut refused) = (0, 0, 0);
    for (text, answer) in scripts.iter().zip(answers) {
        // What bash refuses, dkms does, too.
        let Ok(script) = Script::read(text) else { continue };
        if answer.starts_with('?') {
            refused += 1;
            continue;
        }
        for name in NAMES {
            let Some(variable) = script.variables.get(name) else { continue };
            for (index, value) in &variable.elements {
                let Setting::Known(value) = value else {
                    unknown += 1;
                    continue;
                };
                known += 1;
                let line = format!("{name}\u{1f}{index}\u{1f}{value}");
                let found = answer.split_terminator('\u{1e}').any(|other| other == line);
                assert!(found, "{text}\nhas {name}[{index}] = {value:?}, but bash has {answer:?}");
            }
        }
    }
    let counts = format!("{known} known, {unknown} not, {refused} scripts refused by bash");
    assert!(known > 100 && unknown > 100 && refused < scripts.len() / 3, "{counts}");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[A$`'\"(){}\\[\\]\\\\=;&|<>#\n a0-9]{0,60}") {
        let _ = super::parse(&text);
    }
}

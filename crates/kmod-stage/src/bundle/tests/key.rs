use proptest::prelude::*;

use super::*;

#[test]
fn the_text_of_a_key_and_its_digest() {
    let key = BundleKey::new([
        ("patch:fix.patch", "sha256:aa"),
        ("kind", "dkms"),
        ("kernel", "6.12.0-160.el10.x86_64"),
        ("empty", ""),
        ("lines", "a\nb 1 c"),
    ])
    .unwrap();
    assert_eq!(
        key.text(),
        "assemble bundle key 1\n\
         empty 0 \n\
         kernel 22 6.12.0-160.el10.x86_64\n\
         kind 4 dkms\n\
         lines 7 a\nb 1 c\n\
         patch:fix.patch 9 sha256:aa\n"
    );
    assert_eq!(key.digest(), &Digest::of(key.text().as_bytes()));
    assert_eq!(key.tag(), "03d1f53ab422e1aee9155725488ae86053d6913ed7bb4f0e975e79f8c9c287c6");
    let refused = |inputs: &[(&str, &str)]| BundleKey::new(inputs.iter().copied()).unwrap_err().to_string();
    assert_eq!(refused(&[("a", "1"), ("a", "1")]), "input \"a\" is given twice");
    for name in ["", "a b", "a=b", "a\n", "ä"] {
        assert_eq!(refused(&[(name, "")]), format!("{name:?} cannot be the name of an input"));
    }
}

#[test]
fn a_difference_is_told_by_name() {
    let before = BundleKey::new([("kernel", "6.1"), ("patch:a", "sha256:aa"), ("kind", "dkms")]).unwrap();
    let after = BundleKey::new([("kernel", "6.2"), ("patch:b", "sha256:bb"), ("kind", "dkms")]).unwrap();
    let lines: Vec<String> = after.explain(&before).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["kernel was \"6.1\" and is \"6.2\"", "patch:a was \"sha256:aa\" and is gone", "patch:b is new: \"sha256:bb\""]
    );
    assert_eq!(after.explain(&after), []);
}

proptest! {
    #[test]
    fn keys_are_equal_exactly_if_inputs_are(
        one in prop::collection::btree_map("[a-c]{1,2}", "[ 0-9a-c\n]{0,6}", 0..4),
        other in prop::collection::btree_map("[a-c]{1,2}", "[ 0-9a-c\n]{0,6}", 0..4),
    ) {
        let key = |inputs: &std::collections::BTreeMap<String, String>| BundleKey::new(inputs.clone()).unwrap();
        let backwards = BundleKey::new(one.clone().into_iter().rev()).unwrap();
        prop_assert_eq!(&backwards, &key(&one));
        prop_assert_eq!(key(&one).digest() == key(&other).digest(), one == other);
        prop_assert_eq!(key(&one).explain(&key(&other)).is_empty(), one == other);
        for difference in key(&one).explain(&key(&other)) {
            prop_assert_eq!(one.get(&difference.name), difference.is.as_ref());
            prop_assert_eq!(other.get(&difference.name), difference.was.as_ref());
        }
    }
}

//! What an image says of how it was cut.

use super::*;
use crate::image::Layer;

#[test]
fn observations_fade() {
    let mut seen = Seen::default();
    for build in 0..100 {
        seen = seen.after(build % 2 == 0);
    }
    assert!(seen.builds <= Seen::WINDOW && seen.changes * 2 <= seen.builds + 2, "{seen:?}");
}

#[test]
fn records_are_found_in_annotations_and_then_in_the_label() {
    let chunking = chunked(&debian(), 4, None);
    let recorded = chunking.recorded();
    let image = |annotated: bool| {
        let layers = recorded.layers.iter().enumerate().map(|(number, layer)| {
            let mut made: Layer = crate::testing::image::layer(&number.to_string());
            if annotated {
                made.descriptor.annotations.insert(COMPONENTS.into(), layer.to_json());
            }
            made
        });
        Image::scratch(amd64()).append_all(layers).unwrap()
    };
    let strip = |found: Recorded| Recorded {
        layers: found.layers.into_iter().map(|layer| RecordedLayer { layer: None, ..layer }).collect(),
    };
    let of = |image: &Image| Recorded::of(image).unwrap().map(strip);
    assert_eq!(of(&image(true)), Some(recorded.clone()));
    assert_eq!(of(&image(false)), None);
    assert_eq!(of(&image(false).with_label(LABEL, recorded.to_json())), Some(recorded.clone()));
    assert_eq!(of(&image(false).with_label(LABEL, "[]")), None, "a label of other layers");
    // A bad annotation does not hide a good label, and without one it is the error.
    let bad = |label: &str| {
        let mut made: Layer = crate::testing::image::layer("bad");
        made.descriptor.annotations.insert(COMPONENTS.into(), "{".into());
        Recorded::of(&Image::scratch(amd64()).append_all([made]).unwrap().with_label(LABEL, label))
    };
    assert_eq!(bad("[{}]").unwrap().map(strip), Some(Recorded { layers: vec![RecordedLayer::default()] }));
    for label in ["{", "[]"] {
        let expected = "the annotation io.assemble.components of layer 0 is no record of layers";
        assert_eq!(bad(label).unwrap_err().to_string(), expected);
    }
    assert_eq!(strip(Recorded::parse(&recorded.to_json(), "x").unwrap()), recorded);
    for (text, message) in [
        ("{", "x is no record of layers"),
        ("[{\"a\":[\"0\",0,0]}]", "x is no record of layers"),
        ("[{\"a\":[\"0123456789abcdef\",0,1]}]", "x is no record of layers"),
        (
            "[{\"a\":[\"0123456789abcdef\",0,0]},{\"a\":[\"0123456789abcdef\",0,0]}]",
            "x has the component \"a\" in two layers",
        ),
    ] {
        assert_eq!(Recorded::parse(text, "x").unwrap_err().to_string(), message);
    }
}

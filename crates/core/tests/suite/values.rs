//! Values that a manifest writes as one text: what is printed of them is read as the same value.

use llamero_core::manifest::{Source, Template};
use llamero_core::resource::{GpuDevice, Volume};
use proptest::prelude::*;
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// Checks that a text, if it is a value, is printed as a text that is the same value.
fn reads_back<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Result<bool, TestCaseError>
where
    T::Err: Debug,
{
    let Ok(value) = text.parse::<T>() else { return Ok(false) };
    let printed = value.to_string();
    let read = printed.parse::<T>();
    prop_assert!(read.is_ok(), "{:?} is printed as {:?}: {:?}", text, printed, read);
    prop_assert_eq!(read.expect("it is read"), value, "{:?} is printed as {:?}", text, printed);
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_source_reads_back(
        begin in prop_oneof![Just("hf:"), Just("file:"), Just("file://"), Just("https://"), Just("http://h/"), Just("")],
        rest in "[a-zA-Z0-9:/@._~$?# é-]{0,24}",
    ) {
        reads_back::<Source>(&format!("{begin}{rest}"))?;
    }

    #[test]
    fn a_repository_of_the_hub_reads_back(
        path in "[a-zA-Z0-9-]{1,6}/[a-zA-Z0-9._-]{1,6}x(/[a-z é]{1,4}){0,3}",
        revision in "(@[a-z0-9/@.]{1,8})?",
    ) {
        let text = format!("hf:{path}{revision}");
        prop_assert!(reads_back::<Source>(&text)?, "{:?} is a source", text);
        prop_assert_eq!(text.parse::<Source>().map(|source| source.to_string()), Ok(text));
    }

    #[test]
    fn a_volume_reads_back(source in "[a-z/.~$: ]{0,8}", target in "/?[a-z/:.]{0,8}", mode in "(:ro|:rw|:z)?") {
        reads_back::<Volume>(&format!("{source}:{target}{mode}"))?;
    }

    #[test]
    fn a_text_with_references_reads_back(
        pieces in prop::collection::vec(
            prop_oneof![
                Just("$"), Just("{"), Just("}"), Just("${"), Just("$${"), Just("${gateway.url}"), Just("${cache.url}"),
                Just("${services.a.url}"), Just("${models.a:b.url}"), Just("a"), Just(" é"),
            ],
            0..8,
        ),
    ) {
        reads_back::<Template>(&pieces.concat())?;
    }

    #[test]
    fn a_gpu_reads_back(text in prop_oneof!["[0-9-]{1,4}", "(GPU|MIG|MIG-GPU|XPU)-[0-9a-f-]{0,12}(/[0-9]){0,2}"]) {
        reads_back::<GpuDevice>(&text)?;
    }
}

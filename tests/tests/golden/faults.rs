//! The comparison can fail: with each fault it does, and first where the fault must show.

use std::collections::BTreeSet;

use fathom_engine::fault::{FAULTS, Fault};
use fathom_engine::reach::first_difference;
use fathom_tests::{Reference, golden, golden_json, open};

pub fn every_fault_shows_where_it_must(checkpoint: &str) {
    let folder = golden(checkpoint);
    let reference = Reference::read(&folder.join("logits.safetensors"));
    let own = format!("{checkpoint}/faults.json");
    let table = golden_json(if golden(&own).exists() {
        &own
    } else {
        "faults.json"
    });
    let rows = table.as_array().unwrap().iter();
    let mut tested = BTreeSet::new();
    for row in rows.filter(|r| r["checkpoint"] == checkpoint) {
        let name = row["fault"].as_str().unwrap();
        let model = open(&folder);
        let fault = Fault::by_name(name).unwrap_or_else(|| panic!("no fault {name}"));
        let spec = fault
            .apply(&model.spec)
            .unwrap_or_else(|| panic!("{name} changes nothing of {checkpoint}"));
        let (sound, faulty) = (model.spec.clone(), spec.clone());
        let found = reference.compare(&model.with_spec(spec).unwrap());
        let first: Vec<_> = found.iter().map(|c| c.first_off()).collect();
        let expected: Vec<_> = row["first_position"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p.as_u64().map(|p| p as usize))
            .collect();
        assert_eq!(first, expected, "{checkpoint}, {name}");
        // What the spec says of the shortest text agrees with where the oracle's logits part.
        let told = first_difference(&sound, &faulty);
        let earliest = expected.iter().flatten().min().copied();
        assert!(
            earliest.is_none() || earliest == told,
            "{checkpoint}, {name}: {told:?}, not {earliest:?}"
        );
        tested.insert(name);
    }
    let model = open(&folder);
    for fault in FAULTS.iter().filter(|f| f.apply(&model.spec).is_some()) {
        assert!(
            tested.contains(fault.name),
            "{} applies to {checkpoint} and has no row in faults.json",
            fault.name
        );
    }
}

#[test]
fn llama4_scout_faults_show_where_they_must() {
    every_fault_shows_where_it_must("llama4_scout");
}

#[test]
fn llama4_maverick_faults_show_where_they_must() {
    every_fault_shows_where_it_must("llama4_maverick");
}

#[test]
fn llama31_faults_show_where_they_must() {
    every_fault_shows_where_it_must("llama31");
}

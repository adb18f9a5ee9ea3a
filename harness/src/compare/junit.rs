//! A comparison for a CI server: a suite a suite, a row a test case.

use std::collections::BTreeMap;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::words::figures;
use super::{Comparison, Row, Verdict};
use crate::{Error, Result};

/// The comparison as JUnit XML. What got worse is a failure; where evidence is missing the case is skipped.
///
/// # Errors
/// The writer's.
pub fn junit(comparison: &Comparison) -> Result<String> {
    let name = format!("{} against {}", comparison.candidate, comparison.base);
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for row in comparison.rows.iter().filter(|row| row.gated()) {
        let suite = suites
            .entry(&row.suite)
            .or_insert_with(|| TestSuite::new(row.suite.clone()));
        let case = format!("{} at {}", row.task, row.context);
        let mut case = TestCase::new(case, status(row));
        case.set_classname(format!("fathom.{}.{}", row.suite, row.task));
        suite.add_test_case(case);
    }
    let mut report = Report::new(name);
    report.add_test_suites(suites.into_values());
    report
        .to_string()
        .map_err(|e| Error::Unfinished(format!("junit.xml: {e}")))
}

fn status(row: &Row) -> TestCaseStatus {
    let figures = figures(row);
    match row.verdict {
        Verdict::Worse => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("worse").set_message(figures);
            status
        }
        Verdict::Undecided => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("{} without an answer; {figures}", row.missing));
            status
        }
        Verdict::Better | Verdict::NoChange => TestCaseStatus::success(),
    }
}

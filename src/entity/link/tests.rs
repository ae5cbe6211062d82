//! Weighing and fitting: what the weights are, the fit finds again, and shares are probabilities.

use proptest::prelude::*;

use super::*;

/// Evidence of as many candidates as there are numbers: prior, similarity.
fn evidence(origin: Origin, measures: &[[f32; 2]]) -> Evidence {
    let candidates = measures.iter().enumerate();
    let known = candidates.map(|(at, &[prior, similarity])| Known {
        id: format!("q{at}"),
        name: format!("name {at}"),
        measures: CandidateMeasures {
            prior,
            similarity,
            ..CandidateMeasures::default()
        },
    });
    let none = NoneMeasures {
        found: 1.0,
        ..NoneMeasures::default()
    };
    Evidence {
        origin,
        none,
        candidates: known.collect(),
    }
}

/// Numbers from 0 to 1, always the same.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32
    }
}

/// Examples whose right answers are drawn by these weights.
fn drawn(weights: &Weights, count: usize) -> Vec<Example> {
    let mut numbers = Numbers(7);
    let mut examples = Vec::new();
    for number in 0..count {
        let candidates = 1 + number % 4;
        let measures: Vec<[f32; 2]> = (0..candidates)
            .map(|_| [-4.0 * numbers.next(), numbers.next()])
            .collect();
        let evidence = evidence(Origin::Found, &measures);
        let shares = evidence.weigh(weights);
        let mut left = numbers.next();
        let mut right = Vec::new();
        for entity in &shares.entities {
            left -= entity.score;
            if left < 0.0 {
                let mut ids = evidence.candidates.iter();
                right.extend(ids.position(|known| known.id == entity.id));
                break;
            }
        }
        examples.push(Example {
            document: number as u64 / 10,
            linked: !right.is_empty(),
            right,
            evidence,
        });
    }
    examples
}

#[test]
fn a_fit_finds_the_weights_that_answers_were_drawn_by() {
    let mut weights = Weights::default();
    weights.candidate.prior = 0.6;
    weights.candidate.similarity = 5.0;
    weights.none.found = 1.5;
    let examples = drawn(&weights, 2_000);
    let (fitted, report) = fit(&examples, Way::PriorSimilarity).unwrap();
    assert!((fitted.candidate.prior - 0.6).abs() < 0.1, "{fitted:?}");
    assert!(
        (fitted.candidate.similarity - 5.0).abs() < 0.5,
        "{fitted:?}"
    );
    assert_eq!(fitted.candidate.spelled, 0.0);
    assert!(report.calibration.ece < 0.03, "{report:?}");
    // One measure alone tells less.
    let (alone, less) = fit(&examples, Way::Prior).unwrap();
    assert_eq!(alone.candidate.similarity, 0.0);
    assert!(less.loss > report.loss + 0.05 && less.accuracy < report.accuracy);
    assert_eq!(fit(&examples, Way::Prior).unwrap().0, alone);
    // Where every answer is right as often as it says, half of the F1 is what an answer needs.
    assert!((0.1..0.5).contains(&fitted.thresholds.found), "{fitted:?}");
    let few = fit(&examples[..5], Way::Prior).unwrap_err();
    assert_eq!(
        few.problem().unwrap().code,
        crate::error::Code::InvalidRequest
    );
}

#[test]
fn calibration_is_the_distance_of_shares_and_accuracies() {
    let answers = (0..100).map(|at| (0.75, at % 4 != 0));
    let sure = Calibration::of(answers.clone());
    assert!(sure.ece < 1e-6, "{sure:?}");
    assert_eq!((sure.bins.len(), sure.bins[0].answers), (1, 100));
    let wrong = Calibration::of(answers.map(|(_, right)| (0.95, right)));
    assert!((wrong.ece - 0.2).abs() < 1e-6, "{wrong:?}");
    assert_eq!(Calibration::of([]).ece, 0.0);
}

#[test]
fn an_entity_has_the_shares_of_all_its_names() {
    let mut known = evidence(Origin::Marked, &[[-1.0, 0.0], [-1.2, 0.0], [-1.1, 0.0]]);
    known.candidates[1].id = "q2".into();
    let mut weights = Weights::default();
    weights.candidate.prior = 1.0;
    let shares = known.weigh(&weights);
    let ids: Vec<&str> = shares
        .entities
        .iter()
        .map(|entity| entity.id.as_str())
        .collect();
    assert_eq!(ids, ["q2", "q0"]);
    // By the likeliest of its names, with what the two have together.
    assert_eq!(shares.entities[0].name, "name 2");
    let ratio = shares.entities[0].score / shares.entities[1].score;
    let expected = ((-1.2_f32).exp() + (-1.1_f32).exp()) / (-1.0_f32).exp();
    assert!((ratio - expected).abs() < 1e-4, "{ratio} {expected}");
}

#[test]
fn shipped_weights_are_there_for_every_way() {
    let shipped = Weighings::shipped().unwrap();
    for generator in [false, true] {
        let (way, weights) = shipped.used(generator);
        assert_eq!(way.generates(), generator && way.generates());
        assert_ne!(weights.candidate, CandidateMeasures::default());
    }
    let text = toml::to_string(&shipped).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.toml");
    std::fs::write(&file, &text).unwrap();
    assert_eq!(Weighings::read(&file).unwrap(), shipped);
    for broken in [
        "",
        "nothing = 1",
        &text.replace("prior = ", "priory = "),
        &text.replacen("prior = ", "prior = nan # ", 1),
    ] {
        std::fs::write(&file, broken).unwrap();
        assert!(
            Weighings::read(&file).unwrap_err().problem().is_some(),
            "{broken}"
        );
    }
}

proptest! {
    #[test]
    fn shares_add_up_to_one(
        measures in prop::collection::vec(prop::array::uniform2(-40.0_f32..40.0), 0..20),
        prior in -50.0_f32..50.0,
        none in -50.0_f32..50.0,
    ) {
        let mut weights = Weights::default();
        weights.candidate.prior = prior;
        weights.candidate.similarity = 1.0;
        weights.none.found = none;
        let shares = evidence(Origin::Found, &measures).weigh(&weights);
        let sum: f32 = shares.entities.iter().map(|entity| entity.score).sum();
        prop_assert!((sum + shares.none - 1.0).abs() < 1e-3);
        prop_assert!(shares.entities.is_sorted_by(|a, b| a.score >= b.score));
        prop_assert_eq!(shares.entities.len(), measures.len());
    }
}

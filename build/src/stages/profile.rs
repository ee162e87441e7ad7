//! One encoding for each value, whatever the adapter, by the rules of a target.

use quad_quantize::profile::Profile;
use quad_quantize::profile::anchor::{self, AnchorRule};
use quad_quantize::profile::make::make_for;
use quad_quantize::profile::scores::Scores;
use quad_quantize::rules::Rules;
use serde_json::json;

use super::calibrate::Calibrated;
use super::freeze::FrozenStage;
use super::runner::Runner;
use super::{BuildError, Failed};
use crate::bundle::PROFILE;
use crate::cache::Product;

/// The profile by `rules`.
pub(super) fn profile(
    run: &Runner<'_>,
    frozen: &FrozenStage,
    calibrated: &Calibrated<'_>,
    rules: &str,
    scores: Option<&Scores>,
) -> Result<Product, BuildError> {
    let job = run.job;
    let inputs = json!({
        "frozen": frozen.facts.digest, "statistics": calibrated.inputs(), "rules": rules, "precision": job.precision,
        "form": job.expose.form, "policy": job.anchor.policy, "margin": job.anchor.margin, "scores": scores,
    });
    run.stage("profile", rules, &inputs, |place| {
        let (statistics, graph) = calibrated.all()?;
        let rule = AnchorRule::named(&job.anchor.policy, job.anchor.margin);
        let anchor = anchor::choose(&rule, statistics, scores)?;
        let made = make_for(graph, statistics, &anchor, &job.encoding(Rules::preset(rules)?))?;
        made.profile.write(&place.folder.join(PROFILE))?;
        place.notes = made.notes;
        Ok(())
    })
}

/// Reads what [`profile`] made.
pub(super) fn read(product: &Product) -> Result<Profile, Failed> {
    Ok(Profile::read(&product.folder.join(PROFILE))?)
}

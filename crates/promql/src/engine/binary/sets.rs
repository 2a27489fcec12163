//! `and`, `or`, `unless`: operations on presence.

use super::matching::Signatures;
use crate::engine::bitmap::Bitmap;
use crate::engine::vector::{StepVector, join_same_labels};
use crate::error::QueryError;
use crate::syntax::ast::{BinaryOp, Matching};

/// `left op right` for a set operator.
pub(crate) fn set_op(
    op: BinaryOp,
    mut left: Vec<StepVector>,
    mut right: Vec<StepVector>,
    matching: &Matching,
) -> Result<Vec<StepVector>, QueryError> {
    let steps = left.iter().chain(&right).map(|s| s.values.len()).next().unwrap_or_default();
    let mut signatures = Signatures::new(matching);
    let (kept, other) = match op {
        BinaryOp::Or => (&mut right, &left),
        _ => (&mut left, &right),
    };
    // Where any series of a signature is present on the other side.
    let mut masks: Vec<Bitmap> = Vec::new();
    for series in other {
        let at = signatures.of(&series.labels);
        masks.resize_with(masks.len().max(at + 1), || Bitmap::zeros(steps));
        masks[at].or_with(&series.presence());
    }
    let nothing = Bitmap::zeros(steps);
    for series in kept.iter_mut() {
        let at = signatures.of(&series.labels);
        let mask = masks.get(at).unwrap_or(&nothing);
        let mut keep = series.presence();
        match op {
            BinaryOp::And => keep.and_with(mask),
            _ => keep.subtract(mask),
        }
        series.keep(&keep);
    }
    let mut out = left;
    if op == BinaryOp::Or {
        out.append(&mut right);
    }
    out.retain(|s| !s.is_empty());
    join_same_labels(out)
}

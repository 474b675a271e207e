//! The values that are tried of a key, unless the config lists them.

use std::time::Duration;

use crate::spec::{Key, Kind, Value};

/// Eight powers of two around `base`, half of them below it, as far as the key allows; of what starts at zero, zero and
/// powers of two above; of names, all. In order; `base` is among them.
///
/// # Errors
/// If the key's values have no such order: what would be right, as the end of a sentence about it.
pub fn grid(key: &Key, base: &Value) -> Result<Vec<Value>, String> {
    let values = match (key.kind, base) {
        (Kind::Count { min, max }, Value::Count(base)) => whole(*base, 1, min, max, Value::Count),
        (Kind::Size { min, max }, Value::Size(base)) => whole(*base, 64, min, max, Value::Size),
        (Kind::Duration { min, max }, Value::Duration(base)) => {
            let [base, min, max] = [*base, min, max].map(|time| time.as_nanos() as u64);
            whole(base, 10_000, min, max, |ns| Value::Duration(Duration::from_nanos(ns)))
        }
        (Kind::Number { min, max }, Value::Number(base)) if *base > 0.0 => {
            let values = STEPS.map(|step| base * 2_f64.powi(step));
            values.into_iter().filter(|value| (min..=max).contains(value)).map(Value::Number).collect()
        }
        (Kind::Choice(choices), _) => choices.iter().map(|choice| Value::Choice(choice.name)).collect(),
        (Kind::Switch, _) => vec![Value::Switch(false), Value::Switch(true)],
        _ => return Err(format!("has no grid of its own around {base}: list the values to try")),
    };
    Ok(values)
}

/// By what powers of two.
const STEPS: [i32; 8] = [-4, -3, -2, -1, 0, 1, 2, 3];

/// Whole numbers; above zero from `least` on.
fn whole(base: u64, least: u64, min: u64, max: u64, value: impl Fn(u64) -> Value) -> Vec<Value> {
    let scaled = |step: i32| if step < 0 { base >> -step } else { base.saturating_mul(1 << step) };
    let mut numbers: Vec<u64> = match base {
        0 => [0].into_iter().chain((0..7).map(|step| least << step)).collect(),
        _ => STEPS.into_iter().map(scaled).filter(|&number| number > 0).collect(),
    };
    numbers.retain(|number| (min..=max).contains(number));
    numbers.dedup();
    numbers.into_iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    fn values(key: &str) -> Result<String, String> {
        let key = Spec::keys().iter().find(|each| each.full() == key).expect("a key");
        let base = key.default_value().expect("a default");
        let grid = grid(key, &base)?;
        assert!(grid.contains(&base), "{grid:?}");
        Ok(grid.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn grids_are_powers_of_two_around_the_default() {
        let is = |key: &str, expected: &str| assert_eq!(values(key).as_deref(), Ok(expected), "{key}");
        is("batch.commands", "4 8 16 32 64 128 256 512");
        is("batch.window", "2 4 8 16 32 64 128 256");
        is("batch.linger", "0s 10us 20us 40us 80us 160us 320us 640us");
        is("gossip.fanout", "1 2 4 8");
        is("gossip.k", "1 2 4 8 16");
        is("gossip.exchange", "push pull push-pull");
        is("storage.direct", "false true");
        assert!(values("quorum.phase2").is_err_and(|why| why.contains("list the values")));
    }
}

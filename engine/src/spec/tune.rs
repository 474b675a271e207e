//! The axes that a search may change: `tune = ["batch.commands", "batch.window"]`.

use super::error::{Complaint, SpecError, nearest};
use super::keys::{Key, TABLE};
use super::parse::Written;
use super::value::Value;

/// Their names as coordinates.
pub(super) fn read(written: Written<'_>) -> Result<Vec<&'static str>, SpecError> {
    let Written { key: tune, source, items, .. } = written;
    let mut axes: Vec<&'static str> = Vec::new();
    for (item, at) in items {
        let error = |complaint: Complaint| {
            let message = format!("{tune} {}", complaint.message);
            source.error(&at, Some(tune.full()), Complaint { message, ..complaint })
        };
        let name = Value::read(&item, tune).map_err(error)?.to_string();
        let key = axis(&name).map_err(error)?;
        if axes.contains(&key.coordinate) {
            return Err(error(Complaint::new(format!("names {key} twice")).help("leave one of them out")));
        }
        axes.push(key.coordinate);
    }
    Ok(axes)
}

fn axis(name: &str) -> Result<&'static Key, Complaint> {
    let key = TABLE.iter().copied().find(|key| key.full() == name || key.coordinate == name);
    match key {
        Some(key) if key.axis => Ok(key),
        Some(key) => Err(Complaint::new(format!("names {key}, which takes one value and is no axis"))),
        None => {
            let last = name.rsplit('.').next().unwrap_or(name);
            let complaint = Complaint::new(format!("names `{name}`, which is no key"));
            let axes = || TABLE.iter().filter(|key| key.axis);
            let near = nearest(last, axes().map(|key| key.name));
            Err(match axes().find(|key| Some(key.name) == near) {
                Some(key) => complaint.help(format!("did you mean {key}?")),
                None => complaint.help("name axes, such as `batch.commands`"),
            })
        }
    }
}

//! Which kind of rented machine it is.

use super::Finding;
use crate::host::Root;

/// Families whose cores are lent beyond a share that has to be earned, by how their names begin.
const BURSTABLE: [(&str, &[&str]); 2] =
    [("Amazon EC2", &["t2.", "t3.", "t3a.", "t4g."]), ("Alibaba Cloud", &["ecs.t5", "ecs.t6"])];

pub(super) fn findings(root: &Root) -> Vec<Finding> {
    let check = "cloud.instance";
    let read = |name: &str| root.word(&format!("/sys/class/dmi/id/{name}"));
    let (vendor, product) = (read("sys_vendor"), read("product_name"));
    let finding = match (vendor, product) {
        (None, None) => Finding::unknown(check, "the firmware does not say what kind of machine this is"),
        (vendor, product) => {
            let (vendor, product) = (vendor.unwrap_or_default(), product.unwrap_or_default());
            let burstable = BURSTABLE
                .iter()
                .any(|(of, families)| vendor == *of && families.iter().any(|family| product.starts_with(family)));
            let what = format!("{vendor} {product}").trim().to_owned();
            if burstable {
                Finding::warn(check, what)
                    .costs("its cores are fast until its credits are used up, and slow from then on: in the middle of a run")
                    .todo("rent a machine of a family with a fixed share, or one with unlimited credits")
            } else {
                Finding::ok(check, what)
            }
        }
    };
    vec![finding]
}

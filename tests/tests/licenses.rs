//! Everything that the tool is linked with may be used and passed on under terms that ask for no more than a notice, or, file
//! by file, for changes to that very file.

use std::process::Command;

use quad_tests::paths;
use serde_json::Value;
use spdx::{Expression, LicenseReq};

/// Licenses that a dependency may have. A new one is a decision, and its reason belongs here.
const ACCEPTED: &[&str] = &[
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    // Asks for the source of changed files of its own alone.
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn is_accepted(requirement: &LicenseReq) -> bool {
    requirement.license.id().is_some_and(|license| ACCEPTED.contains(&license.name))
}

/// Name, version and license of all packages that are compiled on this machine.
fn packages() -> Vec<(String, String)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let host = Command::new("rustc").arg("-vV").output().expect("rustc");
    let host = String::from_utf8(host.stdout).expect("text");
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).expect("the host");
    let made = Command::new(cargo)
        .current_dir(paths::root())
        .args(["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", host])
        .output()
        .expect("cargo");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let metadata: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    packages
        .map(|package| {
            let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
            (name, text(&package["license"]))
        })
        .collect()
}

#[test]
fn dependencies_may_be_passed_on() {
    let packages = packages();
    assert!(packages.len() > 100, "{} packages", packages.len());
    let mut refused = Vec::new();
    for (name, license) in packages {
        // Older packages separate alternatives by a slash.
        let expression = Expression::parse_mode(&license, spdx::ParseMode::LAX);
        if !expression.is_ok_and(|expression| expression.evaluate(is_accepted)) {
            refused.push(format!("{name}: `{license}`"));
        }
    }
    assert!(refused.is_empty(), "licenses that are not in the list:\n{}", refused.join("\n"));
}

#[test]
fn terms_that_ask_for_more_are_refused() {
    for license in ["GPL-3.0-only", "AGPL-3.0-only", "MIT AND GPL-2.0-only", "BUSL-1.1"] {
        let expression = Expression::parse(license).expect("an expression");
        assert!(!expression.evaluate(is_accepted), "{license}");
    }
    let expression = Expression::parse("GPL-3.0-only OR MIT").expect("an expression");
    assert!(expression.evaluate(is_accepted));
}

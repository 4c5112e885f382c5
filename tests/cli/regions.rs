//! R01: the atlas, in the published order and words. The golden file was written from the published table, not by us.

use geoseal_support::{
    clients::Ran,
    server::{Server, binary},
};
use serde_json::Value;
use std::process::Command;

const GOLDEN: &str = include_str!("region-list.json");

#[test]
fn the_atlas_is_the_golden_file() {
    let mut command = Command::new(binary());
    command.args(["region", "list", "--json"]).env_remove("GEOSEAL_ADMIN_URL");
    assert_eq!(Ran::of(&mut command).ok(), GOLDEN);
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let geos = golden["geos"].as_array().unwrap();
    let regions: usize = geos.iter().map(|geo| geo["regions"].as_array().unwrap().len()).sum();
    assert_eq!((geos.len(), regions), (9, 18));
}

#[test]
fn a_server_says_which_of_them_it_serves() {
    let server = Server::shared();
    let mut asked = server.geoseal(&["region", "list", "--json"]).json();
    let mut served = vec![];
    for geo in asked["geos"].as_array_mut().unwrap() {
        for region in geo["regions"].as_array_mut().unwrap() {
            let region = region.as_object_mut().unwrap();
            if region.remove("served").unwrap() == true {
                served.push(region["id"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(served, ["westeurope", "northeurope"]);
    assert_eq!(asked, serde_json::from_str::<Value>(GOLDEN).unwrap());
    let table = server.geoseal(&["region", "list"]).ok();
    let line = table.lines().find(|line| line.contains("brazilsouth")).unwrap();
    assert!(line.contains("São Paulo State") && line.contains("single-region") && line.ends_with("no"), "{line}");
}

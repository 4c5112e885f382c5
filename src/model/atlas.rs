//! The atlas: 9 geos, 18 regions, compiled in, in their published order. The location text is a label, not geography
//! that we assert. Source: docs/regions.md.

use std::fmt;

/// A geo: the border that bytes and keys do not cross.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geo {
    /// `[a-z0-9-]`, at most 16 bytes: zero-padded it is the `geo_id` of the formats.
    pub id: &'static str,
    /// Its regions, in order.
    pub regions: &'static [Region],
}

/// A region: where a bucket's bytes lie.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region {
    /// What S3 clients name as their region.
    pub id: &'static str,
    /// The published label.
    pub location: &'static str,
}

impl fmt::Debug for Geo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Geo({})", self.id)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({})", self.id)
    }
}

impl Geo {
    /// The geo with this id.
    pub fn find(id: &str) -> Option<&'static Self> {
        GEOS.iter().find(|geo| geo.id == id)
    }

    /// The id as the formats hold it: ASCII, zero padded to 16 bytes.
    pub fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..self.id.len()].copy_from_slice(self.id.as_bytes());
        bytes
    }
}

impl Region {
    /// The region with this id, and its geo.
    pub fn find(id: &str) -> Option<(&'static Geo, &'static Self)> {
        GEOS.iter().find_map(|geo| geo.regions.iter().find(|r| r.id == id).map(|region| (geo, region)))
    }
}

const fn region(id: &'static str, location: &'static str) -> Region {
    Region { id, location }
}

/// All geos, in order.
pub const GEOS: &[Geo] = &[
    Geo { id: "europe", regions: &[region("westeurope", "Netherlands"), region("northeurope", "Ireland")] },
    Geo {
        id: "unitedstates",
        regions: &[
            region("eastus", "Blue Ridge, VA"),
            region("southcentralus", "Des Moines, IA"),
            region("westus", "Quincy, WA"),
        ],
    },
    Geo {
        id: "australia",
        regions: &[region("australiaeast", "New South Wales"), region("australiasoutheast", "Victoria")],
    },
    Geo { id: "asiapacific", regions: &[region("southeastasia", "Singapore"), region("eastasia", "Hong Kong")] },
    Geo { id: "unitedkingdom", regions: &[region("uksouth", "London"), region("ukwest", "Cardiff, Durham")] },
    Geo { id: "brazil", regions: &[region("brazilsouth", "São Paulo State")] },
    Geo { id: "canada", regions: &[region("canadacentral", "Toronto"), region("canadaeast", "Québec City")] },
    Geo { id: "india", regions: &[region("centralindia", "Pune"), region("southindia", "Chennai")] },
    Geo { id: "japan", regions: &[region("japaneast", "Tokyo, Saitama"), region("japanwest", "Osaka")] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_geos_eighteen_regions_each_once() {
        let regions: Vec<_> = GEOS.iter().flat_map(|g| g.regions).map(|r| r.id).collect();
        let distinct: std::collections::HashSet<_> = regions.iter().collect();
        assert_eq!((GEOS.len(), regions.len(), distinct.len()), (9, 18, 18));
        assert!(GEOS.iter().all(|g| g.id.len() <= 16));
        assert_eq!(Region::find("ukwest").unwrap().0.id, "unitedkingdom");
        assert!(Region::find("us-east-1").is_none());
    }

    #[test]
    fn the_documented_atlas_is_this_one() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/regions.md")).unwrap();
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let regions = GEOS.iter().flat_map(|geo| geo.regions.iter().map(move |region| (geo, region)));
        let expected: Vec<_> =
            regions.map(|(geo, region)| format!("| `{}` | `{}` | {} |", geo.id, region.id, region.location)).collect();
        assert_eq!(rows, expected);
    }
}

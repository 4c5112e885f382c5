//! By when a version has to be looked at because of its bucket's lifecycle rules: asked by the writer when a version is
//! superseded, or becomes current again.
//!
//! A version whose class has a lifetime of its own is looked at no later than before: the look finds out what is true.

use super::acts::Dating;
use super::due::second;
use super::rows::v1::ObjectRow;
use crate::model::lifecycle::{About, Rules};
use std::sync::Arc;

impl Dating {
    /// Goes by these rules.
    pub fn by_rules(rules: Option<Arc<Rules>>) -> Self {
        Self::new(move |row| {
            let by_rule = rules.as_ref().and_then(|rules| look(rules, row));
            let by_class = row.due.filter(|_| row.enabled_ms.is_some());
            [by_rule, by_class].into_iter().flatten().min()
        })
    }
}

fn look(rules: &Rules, row: &ObjectRow) -> Option<u64> {
    let about = About { name: &row.name, size: row.size, tags: &row.tags };
    let at = match row.superseded {
        Some(since) => rules.look_at_superseded(about, since),
        None if row.is_object() => rules.expiry(&row.name, row.size, &row.tags, row.age_from()).map(|expiry| expiry.at),
        None => rules.lone_marker(&row.name, row.age_from()).map(|expiry| expiry.at),
    };
    at.map(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::rows::v1::ObjectKind;
    use crate::model::lifecycle::{Expire, Filter, Rule, Superseded};
    use crate::model::time::Millis;

    #[test]
    fn a_version_is_dated_as_what_it_becomes() {
        let rule = Rule {
            id: "a".into(),
            enabled: true,
            filter: Filter::default(),
            expire: Some(Expire::After(9)),
            abort_days: None,
            superseded: Some(Superseded { days: 2, keep: None }),
            lone_markers: None,
        };
        let dating = Dating::by_rules(Some(Arc::new(Rules(vec![rule]))));
        let day = |day: i64| Millis(day * 86_400_000);
        let marker = ObjectRow::marker("x".into(), day(1), day(1));
        let object = ObjectRow { kind: ObjectKind::Object, ..marker.clone() };
        let in_days = |due: Option<u64>| due.map(|due| due / 86_400);
        assert_eq!(in_days(dating.due(&object)), Some(10), "current again");
        assert_eq!(in_days(dating.due(&marker)), Some(10));
        let superseded = ObjectRow { superseded: Some(day(5)), ..object.clone() };
        assert_eq!(in_days(dating.due(&superseded)), Some(7));
        let temporary = ObjectRow { enabled_ms: Some(0), due: Some(86_400), ..superseded.clone() };
        assert_eq!(in_days(dating.due(&temporary)), Some(1), "its class may be earlier");
        assert_eq!(Dating::by_rules(None).due(&superseded), None);
    }
}

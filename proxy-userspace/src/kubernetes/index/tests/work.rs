//! How much is looked at when something changes: what it touches, however large the cluster is.

use super::*;

/// A thousand pods and three thousand Services in ten namespaces; a Service in three has pods here.
fn cluster() -> Index {
    let mut index = Index::new(NODE, NodeDefaults::default(), EnrolMode::All);
    for number in 0..10 {
        index.tell(namespace(&space(number), &[]));
    }
    index.apply(Event::Services(Change::Relist((0..3000).map(one_service).collect())), at(0));
    let slices = (0..3000).map(|number| slice(number, &[]));
    index.apply(Event::Endpoints(Change::Relist(slices.collect())), at(0));
    index.apply(Event::Pods(Change::Relist((0..1000).map(|number| one_pod(number, &[])).collect())), at(0));
    index
}

fn space(number: usize) -> String {
    format!("space-{}", number % 10)
}

fn one_pod(number: usize, annotations: Pairs<'_>) -> Pod {
    let address = format!("10.0.{}.{}", number / 250, number % 250);
    Pod {
        meta: meta(&space(number), &format!("pod-{number}"), annotations),
        labels: labels(&[("app", &format!("app-{number}")), ("team", "all")]),
        ..pod("", &address, &[])
    }
}

fn one_service(number: usize) -> Service {
    let address = format!("10.96.{}.{}", number / 250, number % 250);
    Service {
        meta: meta(&space(number), &format!("service-{number}"), &[]),
        selector: labels(&[("app", &format!("app-{number}"))]),
        ..service("", &address, &["80:8080", "4406:mysql"], &[])
    }
}

fn slice(number: usize, addresses: &[&str]) -> Endpoints {
    let service = format!("service-{number}");
    Endpoints {
        meta: meta(&space(number), &format!("{service}-x"), &[]),
        ..endpoints("", &service, addresses, &[("", 8080)])
    }
}

/// What one event makes the index look at.
fn looked_at<T: Told>(index: &mut Index, object: T) -> Recomputed {
    let before = std::mem::take(&mut index.recomputed);
    index.tell(object);
    std::mem::replace(&mut index.recomputed, before)
}

#[test]
fn a_change_makes_the_index_look_at_what_it_touches_and_no_more() {
    let mut index = cluster();
    assert_eq!(index.objects(), Objects { namespaces: 10, services: 3000, endpoints: 3000, pods: 1000 });
    let one = Recomputed { services: 0, endpoints: 0, pods: 1, addresses: 1 };
    assert_eq!(looked_at(&mut index, one_pod(7, &[(OPAQUE, "1")])), one);
    assert_eq!(looked_at(&mut index, one_pod(7, &[])), one);

    let mut marked = one_service(7);
    marked.meta.annotations = [(OPAQUE, "4406")].into_iter().collect();
    let both = Recomputed { services: 1, endpoints: 1, pods: 1, addresses: 2 };
    assert_eq!(looked_at(&mut index, marked.clone()), both);
    // Nothing comes of what was known.
    let one = Recomputed { services: 1, endpoints: 0, pods: 0, addresses: 1 };
    assert_eq!(looked_at(&mut index, marked), one);

    let one = Recomputed { services: 0, endpoints: 1, pods: 0, addresses: 0 };
    assert_eq!(looked_at(&mut index, slice(8, &["10.0.0.8"])), one);

    let nothing = Recomputed::default();
    assert_eq!(looked_at(&mut index, namespace("space-3", &[])), nothing);
    let its_own = Recomputed { services: 300, endpoints: 300, pods: 100, addresses: 400 };
    assert_eq!(looked_at(&mut index, namespace("space-3", &[(OPAQUE, "4406")])), its_own);
}

#[test]
fn a_list_of_what_is_known_makes_it_look_at_nothing() {
    let mut index = Index::new(NODE, NodeDefaults::default(), EnrolMode::All);
    let versioned = |number: usize| {
        let mut pod = one_pod(number, &[]);
        pod.meta.version = Some(1 + u64::try_from(number).unwrap());
        pod
    };
    let all: Vec<_> = (0..100).map(versioned).collect();
    index.apply(Event::Pods(Change::Relist(all.clone())), at(0));
    assert_eq!(index.recomputed.pods, 100);
    index.apply(Event::Pods(Change::Relist(all)), at(0));
    assert_eq!(index.recomputed.pods, 100);
}

#[test]
fn a_cluster_that_goes_leaves_nothing() {
    let mut index = cluster();
    index.apply(Event::Pods(Change::Relist(Vec::new())), at(0));
    index.apply(Event::Services(Change::Relist(Vec::new())), at(0));
    index.apply(Event::Namespaces(Change::Relist(Vec::new())), at(0));
    index.apply(Event::Endpoints(Change::Relist(Vec::new())), at(0));
    assert_eq!(index.leftovers(), 0);
}

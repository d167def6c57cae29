//! How objects come, change and go.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use super::{
    Change, Dirty, Index, Kind, Problem, ProblemKey, service, set,
    slot::Slots,
    space::{EndpointsEntry, NamespaceEntry, PodEntry, ServiceEntry, Space},
};
use crate::{
    kubernetes::objects::{Endpoints, Key, Meta, Namespace, Object, Pod, Service},
    policy::{PortNames, PortSet, PortSpec},
};

/// A kind of object, as the index keeps it.
pub(super) trait Kept: Object + Sized {
    /// The names of all in a namespace.
    fn names(space: &Space) -> Vec<Arc<str>>;

    /// The one of a name that is known.
    fn known<'a>(space: &'a Space, name: &str) -> Option<&'a Meta>;

    /// Takes it in the place of the one of its name, which may have been another object.
    fn put(self, index: &mut Index, now: SystemTime, dirty: &mut Dirty);

    /// Takes the one of this name away.
    fn take(index: &mut Index, key: &Key, dirty: &mut Dirty);
}

impl Index {
    pub(super) fn change<T: Kept>(&mut self, change: Change<T>, now: SystemTime, dirty: &mut Dirty) {
        match change {
            Change::Upsert(object) => {
                let meta = object.meta();
                let known =
                    self.spaces.get(&meta.key.namespace).and_then(|space| T::known(space, &meta.key.name));
                if known.is_some_and(|known| is_behind(meta, known)) {
                    return;
                }
                self.put(object, now, dirty);
            }
            Change::Delete { key, uid } => {
                let known = self.spaces.get(&key.namespace).and_then(|space| T::known(space, &key.name));
                if known.is_some_and(|known| known.uid == uid) {
                    dirty.spaces.insert(Arc::clone(&key.namespace));
                    T::take(self, &key, dirty);
                }
            }
            Change::Relist(objects) => self.relist(objects, now, dirty),
        }
    }

    fn put<T: Kept>(&mut self, object: T, now: SystemTime, dirty: &mut Dirty) {
        let namespace = Arc::clone(&object.meta().key.namespace);
        self.spaces.entry(namespace).or_default();
        object.put(self, now, dirty);
    }

    fn relist<T: Kept>(&mut self, objects: Vec<T>, now: SystemTime, dirty: &mut Dirty) {
        let there: BTreeSet<Key> = objects.iter().map(|object| object.meta().key.clone()).collect();
        let known = self.spaces.iter().flat_map(|(namespace, space)| {
            let key = |name| Key { namespace: Arc::clone(namespace), name };
            T::names(space).into_iter().map(key)
        });
        let gone: Vec<Key> = known.filter(|key| !there.contains(key)).collect();
        for key in gone {
            dirty.spaces.insert(Arc::clone(&key.namespace));
            T::take(self, &key, dirty);
        }
        for object in objects {
            let meta = object.meta();
            let known =
                self.spaces.get(&meta.key.namespace).and_then(|space| T::known(space, &meta.key.name));
            let is_same = known.is_some_and(|known| {
                known.uid == meta.uid && known.version.is_some() && known.version == meta.version
            });
            if !is_same {
                self.put(object, now, dirty);
            }
        }
    }

    /// Lists what is wrong with an object's annotations, and no more what was.
    fn set_problems(&mut self, kind: Kind, meta: &Meta, problems: Problems) {
        for (annotation, problem) in problems {
            let key = ProblemKey { kind, object: meta.key.clone(), annotation };
            set(&mut self.desired.problems, &key, problem);
        }
    }
}

/// Whether an object is the one that is known, or an older version of it.
fn is_behind(told: &Meta, known: &Meta) -> bool {
    told.version.zip(known.version).is_some_and(|(told, known)| told <= known)
}

/// What is wrong with an object, by annotation.
type Problems = Vec<(crate::kubernetes::annotation::Annotation, Option<Problem>)>;

/// What is wrong with an object that says this.
fn problems<P>(meta: &Meta, slots: &Slots<P>) -> Problems {
    let of = |(wrong, is_earlier_kept): (&super::slot::Wrong, bool)| Problem {
        uid: Arc::clone(&meta.uid),
        message: Arc::clone(&wrong.message),
        is_earlier_kept,
        since: wrong.since,
    };
    slots.wrongs().map(|(annotation, wrong)| (annotation, wrong.map(of))).collect()
}

/// Nothing is wrong with an object that is gone.
fn no_problems() -> Problems {
    crate::kubernetes::annotation::Annotation::ALL.map(|annotation| (annotation, None)).into()
}

/// Reads a list of ports, with the names that there are.
fn ports(names: &PortNames) -> impl Fn(&str) -> Result<PortSet, String> {
    |list| {
        let spec: PortSpec = list.parse().map_err(|error: crate::policy::PortSetError| error.to_string())?;
        spec.resolve(names).map_err(|error| error.to_string())
    }
}

impl Kept for Pod {
    fn names(space: &Space) -> Vec<Arc<str>> {
        space.pods.keys().cloned().collect()
    }

    fn known<'a>(space: &'a Space, name: &str) -> Option<&'a Meta> {
        space.pods.get(name).map(|entry| &entry.object.meta)
    }

    fn put(self, index: &mut Index, now: SystemTime, dirty: &mut Dirty) {
        let key = self.meta.key.clone();
        let space = index.spaces.entry(Arc::clone(&key.namespace)).or_default();
        let (slots, said_of) = match space.take_pod(&key.name) {
            Some(PodEntry { object, slots, said_of }) if object.meta.uid == self.meta.uid => (slots, said_of),
            Some(PodEntry { said_of, .. }) => (Slots::default(), said_of),
            None => (Slots::default(), Vec::new()),
        };
        let mut entry = PodEntry { slots, said_of, object: self };
        entry.slots.update(&entry.object.meta.annotations, ports(&entry.object.port_names), now);
        let (meta, wrong) = (entry.object.meta.clone(), problems(&entry.object.meta, &entry.slots));
        space.put_pod(&key.name, entry);
        index.set_problems(Kind::Pod, &meta, wrong);
        dirty.pods.insert(key);
    }

    fn take(index: &mut Index, key: &Key, dirty: &mut Dirty) {
        let Some(entry) = index.spaces.get_mut(&key.namespace).and_then(|space| space.take_pod(&key.name))
        else {
            return;
        };
        for ip in entry.said_of {
            index.addresses.pod_says(ip, key, None);
            dirty.addresses.insert(ip);
        }
        set(&mut index.desired.pods, key, None);
        set(&mut index.desired.left_alone, key, None);
        set(&mut index.desired.disagreements, key, None);
        index.set_problems(Kind::Pod, &entry.object.meta, no_problems());
    }
}

impl Kept for Service {
    fn names(space: &Space) -> Vec<Arc<str>> {
        space.services.keys().cloned().collect()
    }

    fn known<'a>(space: &'a Space, name: &str) -> Option<&'a Meta> {
        space.services.get(name).map(|entry| &entry.object.meta)
    }

    fn put(self, index: &mut Index, now: SystemTime, dirty: &mut Dirty) {
        let key = self.meta.key.clone();
        let space = index.spaces.entry(Arc::clone(&key.namespace)).or_default();
        let (slots, facts, selector) = match space.take_service(&key.name) {
            Some(ServiceEntry { object, slots, facts }) => {
                let is_same = object.meta.uid == self.meta.uid;
                (if is_same { slots } else { Slots::default() }, facts, Some(object.selector))
            }
            None => (Slots::default(), None, None),
        };
        let mut entry = ServiceEntry { slots, facts, object: self };
        let names = service::port_names(&entry.object);
        entry.slots.update(&entry.object.meta.annotations, ports(&names), now);
        let (meta, wrong) = (entry.object.meta.clone(), problems(&entry.object.meta, &entry.slots));
        if let Some(before) = selector.filter(|before| *before != entry.object.selector) {
            // Whatever comes of its ports, it is others' now.
            let pod = |name: &Arc<str>| Key { namespace: Arc::clone(&key.namespace), name: Arc::clone(name) };
            dirty.pods.extend(space.selected(&before).chain(space.selected(&entry.object.selector)).map(pod));
        }
        space.put_service(&key.name, entry);
        index.set_problems(Kind::Service, &meta, wrong);
        dirty.services.insert(key);
    }

    fn take(index: &mut Index, key: &Key, dirty: &mut Dirty) {
        let Some(space) = index.spaces.get_mut(&key.namespace) else { return };
        dirty.of_service(key, space);
        let Some(entry) = space.take_service(&key.name) else { return };
        for ip in entry.facts.iter().flat_map(|facts| &facts.cluster_ips) {
            index.addresses.service_says(*ip, key, None);
            dirty.addresses.insert(*ip);
        }
        set(&mut index.desired.services, key, None);
        index.set_problems(Kind::Service, &entry.object.meta, no_problems());
    }
}

impl Kept for Namespace {
    fn names(space: &Space) -> Vec<Arc<str>> {
        space.object.iter().map(|entry| Arc::clone(&entry.meta.key.name)).collect()
    }

    fn known<'a>(space: &'a Space, _its_own: &str) -> Option<&'a Meta> {
        space.object.as_ref().map(|entry| &entry.meta)
    }

    fn put(self, index: &mut Index, now: SystemTime, dirty: &mut Dirty) {
        let Self { meta } = self;
        let space = index.spaces.entry(Arc::clone(&meta.key.namespace)).or_default();
        let before = space.object.take();
        let known = before.as_ref().filter(|known| known.meta.uid == meta.uid);
        let mut slots = known.map(|known| known.slots.clone()).unwrap_or_default();
        let spec = |list: &str| list.parse::<PortSpec>().map_err(|error| error.to_string());
        slots.update(&meta.annotations, spec, now);
        let wrong = problems(&meta, &slots);
        if before.is_none_or(|before| before.slots != slots) {
            dirty.all_of(&meta.key.namespace, space);
        }
        space.object = Some(NamespaceEntry { meta: meta.clone(), slots });
        index.set_problems(Kind::Namespace, &meta, wrong);
    }

    fn take(index: &mut Index, key: &Key, dirty: &mut Dirty) {
        let Some(space) = index.spaces.get_mut(&key.namespace) else { return };
        let Some(NamespaceEntry { meta, .. }) = space.object.take() else { return };
        dirty.all_of(&key.namespace, space);
        index.set_problems(Kind::Namespace, &meta, no_problems());
    }
}

impl Kept for Endpoints {
    fn names(space: &Space) -> Vec<Arc<str>> {
        space.endpoints.keys().cloned().collect()
    }

    fn known<'a>(space: &'a Space, name: &str) -> Option<&'a Meta> {
        space.endpoints.get(name).map(|entry| &entry.object.meta)
    }

    fn put(self, index: &mut Index, _now: SystemTime, dirty: &mut Dirty) {
        let key = self.meta.key.clone();
        let space = index.spaces.entry(Arc::clone(&key.namespace)).or_default();
        let said = space.take_endpoints(&key.name).map(|entry| entry.said).unwrap_or_default();
        space.put_endpoints(&key.name, EndpointsEntry { object: self, said });
        dirty.endpoints.insert(key);
    }

    fn take(index: &mut Index, key: &Key, dirty: &mut Dirty) {
        let space = index.spaces.get_mut(&key.namespace);
        let Some(entry) = space.and_then(|space| space.take_endpoints(&key.name)) else { return };
        for ip in entry.said.keys() {
            index.addresses.endpoints_say(*ip, key, None);
            dirty.at_address(*ip, &index.addresses);
        }
    }
}

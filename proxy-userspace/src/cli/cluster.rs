//! `sluice check --cluster`: whether the cluster is as an agent needs it, and what a running one misses.

use std::fs;

use super::{
    args::CheckArgs,
    destination::some_of,
    pods::{ask, consequence, plain, watch_text},
};
use crate::{
    agent::{PodState, PodsView},
    kernel::{Finding, Weight},
    kubernetes::{self, Checked, ThisNode},
};

/// Asks the API server, and then the agent.
pub(super) fn check(args: &CheckArgs) -> anyhow::Result<Vec<Finding>> {
    let answer = ask(&args.pins, &args.socket);
    let said = args.node_name.clone();
    let from_environment = || std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
    let from_agent = || answer.as_ref().ok().map(|answer| answer.view.node.clone());
    let name = said.or_else(from_environment).or_else(from_agent);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned());
    let node = ThisNode { name, kernel };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let checked = runtime.block_on(kubernetes::check(args.kubeconfig.clone(), &node));
    let mut findings: Vec<_> = checked.into_iter().map(finding_of).collect();
    match answer {
        Ok(answer) => findings.extend(of_agent(&answer.view, node.name.as_deref())),
        Err(error) => findings.push(off("an agent tells of pods", format!("{error:#}"))),
    }
    Ok(findings)
}

fn finding_of(checked: Checked) -> Finding {
    let weight = if checked.is_required { Weight::Required } else { Weight::Optional };
    let (detail, error) = match checked.outcome {
        Ok(detail) => (detail, None),
        Err(error) => (None, Some(plain(&error))),
    };
    Finding { what: plain(&checked.what), weight, detail: detail.as_deref().map(plain), error }
}

fn ok(what: &str, detail: Option<String>) -> Finding {
    Finding { what: what.to_owned(), weight: Weight::Required, detail, error: None }
}

/// Something that is not as it should be, and that no other node suffers from.
fn off(what: &str, error: String) -> Finding {
    Finding { what: what.to_owned(), weight: Weight::Optional, detail: None, error: Some(error) }
}

/// What a running agent says: of its watches, of pods that are not enrolled, of annotations.
fn of_agent(view: &PodsView, node: Option<&str>) -> Vec<Finding> {
    let mut findings = vec![match node {
        Some(node) if node != view.node => {
            off("an agent tells of pods", format!("of those of node {}, and not of {node}", view.node))
        }
        _ => ok("an agent tells of pods", Some(format!("node {}", view.node))),
    }];
    for watch in view.watches.iter().filter(|watch| !watch.is_synced || watch.error.is_some()) {
        findings.push(off(&format!("the agent's watch of {} runs", watch.resource), watch_text(watch)));
    }
    findings.extend(of_pods(view));
    findings.extend(of_annotations(view));
    findings
}

fn of_pods(view: &PodsView) -> Vec<Finding> {
    let of_state = |state| view.pods.iter().filter(move |pod| pod.state == state);
    let mut findings: Vec<_> = of_state(PodState::Waiting)
        .map(|pod| {
            let why = pod.why.as_deref().unwrap_or("no reason is known");
            off(&format!("pod {} is enrolled", pod.name), plain(why))
        })
        .collect();
    if findings.is_empty() {
        let enrolled = of_state(PodState::Enrolled).count();
        findings.push(ok("the pods that are to be are enrolled", Some(enrolled.to_string())));
    }
    // Those are told apart only where they are to be enrolled.
    let in_host_network: Vec<_> = of_state(PodState::LeftAlone)
        .filter(|pod| pod.why.as_deref() == Some("host-network"))
        .map(|pod| pod.name.clone())
        .collect();
    if !in_host_network.is_empty() {
        let names = some_of(in_host_network.into_iter());
        findings.push(off(
            "annotated pods have a network namespace of their own",
            format!("left alone with hostNetwork: {names}"),
        ));
    }
    findings
}

fn of_annotations(view: &PodsView) -> Vec<Finding> {
    let mut findings: Vec<_> = view
        .problems
        .iter()
        .map(|problem| {
            let message = format!("{}; {}", plain(&problem.message), consequence(problem.is_earlier_kept));
            off(&format!("the annotations of {} can be used", problem.object), message)
        })
        .collect();
    if findings.is_empty() {
        findings.push(ok("the annotations can be used", None));
    }
    if view.disagreements.is_empty() {
        findings.push(ok("Services and pods agree on opaque ports", None));
    }
    for disagreement in &view.disagreements {
        findings.push(off("Services and pods agree on opaque ports", plain(disagreement)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{
        super::{check::text, pods::tests::view},
        *,
    };

    fn shown(findings: &[Finding]) -> String {
        let mut shown = Vec::new();
        text(findings, &mut shown).unwrap();
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn what_an_agent_misses_is_told_line_by_line() {
        assert_eq!(
            shown(&of_agent(&view(), Some("node-1"))),
            "\
ok    an agent tells of pods: node node-1
off   the agent's watch of services runs: listed; failing for 12 s: the API server answers 503: busy
off   the agent's watch of endpoints runs: not listed yet; failing for 61 s: no answer within 60 s
off   pod shop/db-0 is enrolled: no process in its cgroup yet
off   annotated pods have a network namespace of their own: left alone with hostNetwork: kube-system/cni-x
off   the annotations of Service test/db can be used: config.linkerd.io/opaque-ports: \"44O6\": expected a port \
(1-65535) or a range (8000-8100), got '44O6' (entry 1 of 1); it is as if the annotation were not there
off   Services and pods agree on opaque ports: Service shop/db port 4406 leads to Pod shop/db-0 port 3306: opaque by \
the Service's annotation, not by the Pod's
"
        );
    }

    #[test]
    fn where_nothing_is_wrong_every_line_is_ok() {
        let mut view = view();
        view.watches.clear();
        view.pods.retain(|pod| pod.state == PodState::Enrolled);
        view.problems.clear();
        view.disagreements.clear();
        assert_eq!(
            shown(&of_agent(&view, None)),
            "\
ok    an agent tells of pods: node node-1
ok    the pods that are to be are enrolled: 1
ok    the annotations can be used
ok    Services and pods agree on opaque ports
"
        );
        let other = of_agent(&view, Some("node-2"));
        assert_eq!(other[0].error.as_deref(), Some("of those of node node-1, and not of node-2"));
    }

    #[test]
    fn what_is_not_required_does_not_fail() {
        let checked = |is_required| Checked { what: "x".into(), is_required, outcome: Err("a\nb".into()) };
        let [hard, soft] = [true, false].map(|is_required| finding_of(checked(is_required)));
        assert_eq!((hard.weight, soft.weight), (Weight::Required, Weight::Optional));
        assert_eq!(shown(&[hard, soft]), "FAIL  x: a\\nb\noff   x: a\\nb\n");
    }
}

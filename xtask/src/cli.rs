//! The command line, and nothing else: what the words mean is in the chores' own modules.

use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{bench, demo, fuzz, image, instructions, k8s, lint, manifests, setup, test, vm};

/// sluice's chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Install what is missing on this machine, and say so first.
    Setup {
        /// What the machine is for.
        #[arg(long = "for", value_enum, default_value_t = setup::Purpose::All)]
        purpose: setup::Purpose,
        /// Say what would be installed, and install nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Check format, clippy, dependencies, the layer rule and the dashboard's metrics.
    Lint,
    /// Run the tests: unit, kernel integration on this machine, kernel integration in VMs.
    Test(TestArgs),
    /// Run the kernel integration tests in virtual machines, one for each kernel.
    VmTest {
        /// 6.1, 6.12, 7 or a version that Debian has; may be repeated. Default: all three.
        #[arg(long = "kernel", value_name = "VERSION")]
        kernels: Vec<String>,
        #[command(flatten)]
        vm: VmArgs,
        /// Only tests whose names contain this.
        #[arg(last = true, value_name = "FILTER")]
        filter: Vec<String>,
    },
    /// Run the tests that need Kubernetes' API, against a real API server.
    K8sTest(k8s::Options),
    /// Run the fuzz targets, each for a while.
    Fuzz(fuzz::Options),
    /// Count the instructions of what the proxy does most often, and compare with the reference.
    Instructions(instructions::Options),
    /// Build the image of the node agent, as an archive.
    Image(image::Options),
    /// Render the manifests and check them against Kubernetes's schemas.
    Manifests(manifests::Options),
    /// Build sluice and run its main job on real traffic.
    Demo,
    /// The client that `demo` runs through `sluice exec`.
    #[command(hide = true)]
    DemoClient(demo::ClientArgs),
    /// Measure what a hop through sluice costs, against no hop.
    Bench(bench::Options),
    /// The client that `bench` measures with.
    #[command(hide = true)]
    BenchClient(bench::ClientArgs),
    /// The server that `bench` measures with.
    #[command(hide = true)]
    BenchServer(bench::ServerArgs),
    /// The relay that `bench` compares with.
    #[command(hide = true)]
    BenchRelay(bench::RelayArgs),
    /// Runs a server or a proxy that `bench` did not bring.
    #[command(hide = true)]
    BenchProgram(bench::ProgramArgs),
}

/// Which tests.
#[derive(Debug, clap::Args)]
struct TestArgs {
    /// Unit tests. Without --unit, --native or --vm: all three.
    #[arg(long)]
    unit: bool,
    /// Kernel integration tests on this machine's kernel.
    #[arg(long)]
    native: bool,
    /// Kernel integration tests in VMs, on every kernel of `vm-test`.
    #[arg(long = "vm")]
    in_vms: bool,
    #[command(flatten)]
    vm: VmArgs,
    /// Only tests whose names contain this.
    #[arg(last = true, value_name = "FILTER")]
    filter: Vec<String>,
}

/// How the virtual machines run.
#[derive(Debug, clap::Args)]
struct VmArgs {
    /// Use KVM instead of emulation, where this machine's KVM boots the kernel.
    #[arg(long)]
    kvm: bool,
    /// Look for newer packages of the kernels, instead of using the ones that are here.
    #[arg(long)]
    update_kernels: bool,
    /// Seconds that a guest may take.
    #[arg(long, default_value_t = 2400, value_name = "SECONDS")]
    deadline: u64,
    /// Run this program in the guest instead of the integration tests.
    #[arg(long, value_name = "PROGRAM", hide = true)]
    program: Option<std::path::PathBuf>,
}

impl From<VmArgs> for vm::Options {
    fn from(args: VmArgs) -> Self {
        Self {
            kvm: args.kvm,
            update_kernels: args.update_kernels,
            deadline: Duration::from_secs(args.deadline),
            program: args.program,
        }
    }
}

/// Does the chore; `false` when it found something wrong and has said what.
pub(crate) fn run(cli: Cli) -> Result<bool> {
    match cli.chore {
        Chore::Setup { purpose, dry_run } => setup::run(purpose, dry_run).map(|()| true),
        Chore::Lint => lint::run(),
        Chore::Test(args) => {
            let all = !(args.unit || args.native || args.in_vms);
            test::run(&test::Options {
                unit: all || args.unit,
                native: all || args.native,
                in_vms: all || args.in_vms,
                vm: args.vm.into(),
                filter: args.filter,
            })
        }
        Chore::VmTest { kernels, vm, filter } => test::run_vms(&kernels, &vm.into(), &filter),
        Chore::K8sTest(options) => k8s::run(&options),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::Instructions(options) => instructions::run(&options),
        Chore::Image(options) => image::run(&options).map(|()| true),
        Chore::Manifests(options) => manifests::run(&options),
        Chore::Demo => demo::run(),
        Chore::DemoClient(args) => demo::client(&args).map(|()| true),
        Chore::Bench(options) => bench::run(options).map(|()| true),
        Chore::BenchClient(args) => bench::client(&args).map(|()| true),
        Chore::BenchServer(args) => bench::server(&args).map(|()| true),
        Chore::BenchRelay(args) => bench::relay(&args).map(|()| true),
        Chore::BenchProgram(args) => bench::program(&args).map(|()| true),
    }
}

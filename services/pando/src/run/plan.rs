//! `Plan`: which roles a process has, and their arguments.

use anyhow::{Result, bail};

use crate::args::{
    AgentArgs, AllArgs, ClusterArgs, Command, ControllerArgs, Flags, GrpcArgs, IngesterArgs,
    LogArgs, QueryArgs, StorageArgs, StoreArgs, WebArgs,
};

/// What a process does. A role is there where its arguments are.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) web: WebArgs,
    pub(crate) grpc: GrpcArgs,
    pub(crate) log: LogArgs,
    pub(crate) cluster: ClusterArgs,
    pub(crate) storage: StorageArgs,
    pub(crate) store: Option<StoreArgs>,
    pub(crate) agent: Option<AgentArgs>,
    pub(crate) receiver: bool,
    pub(crate) ingester: Option<IngesterArgs>,
    pub(crate) store_gateway: bool,
    pub(crate) query: Option<QueryArgs>,
    pub(crate) compactor: bool,
    pub(crate) controller: Option<ControllerArgs>,
    /// All flags and their values, to be shown.
    pub(crate) flags: Flags,
}

impl Plan {
    /// The plan of a subcommand that runs roles; `None` for a tool.
    pub(crate) fn of(command: &Command, flags: Flags) -> Option<Plan> {
        macro_rules! role {
            ($name:literal, $args:expr) => {
                Plan {
                    name: $name,
                    web: $args.web.clone(),
                    grpc: $args.grpc.clone(),
                    log: $args.log.clone(),
                    cluster: $args.cluster.clone(),
                    storage: $args.storage.clone(),
                    store: None,
                    agent: None,
                    receiver: false,
                    ingester: None,
                    store_gateway: false,
                    query: None,
                    compactor: false,
                    controller: None,
                    flags,
                }
            };
        }
        Some(match command {
            Command::All(args) => Plan::all(args, role!("all", args)),
            Command::Agent(args) => {
                Plan { agent: Some(args.agent.clone()), ..role!("agent", args) }
            }
            Command::Receiver(args) => Plan { receiver: true, ..role!("receiver", args) },
            Command::Ingester(args) => Plan {
                store: Some(args.store.clone()),
                ingester: Some(args.ingester.clone()),
                ..role!("ingester", args)
            },
            Command::StoreGateway(args) => Plan {
                store: Some(args.store.clone()),
                store_gateway: true,
                ..role!("store-gateway", args)
            },
            Command::QueryFrontend(args) => {
                Plan { query: Some(args.query.clone()), ..role!("query-frontend", args) }
            }
            Command::Compactor(args) => Plan {
                store: Some(args.store.clone()),
                compactor: true,
                ..role!("compactor", args)
            },
            Command::Controller(args) => Plan {
                store: Some(args.store.clone()),
                controller: Some(args.controller.clone()),
                ..role!("controller", args)
            },
            Command::Check(_)
            | Command::Query(_)
            | Command::Test(_)
            | Command::Block(_)
            | Command::Admin(_) => return None,
        })
    }

    fn all(args: &AllArgs, base: Plan) -> Plan {
        Plan {
            store: Some(args.store.clone()),
            agent: Some(args.agent.clone()),
            receiver: true,
            ingester: Some(args.ingester.clone()),
            store_gateway: true,
            query: Some(args.query.clone()),
            compactor: true,
            controller: Some(args.controller.clone()),
            ..base
        }
    }

    /// Checks what no argument says alone.
    ///
    /// # Errors
    /// It has nobody to ask, or an address by which nobody could reach it.
    pub(crate) fn check(&self) -> Result<()> {
        if self.controller.is_none() && self.cluster.controllers.is_empty() {
            bail!(
                "pando {} needs --cluster.controllers=HOST:PORT,... : it asks them for its work",
                self.name
            );
        }
        let given = [("--grpc.advertise-address", self.grpc.advertise_address.as_slice())];
        for (flag, addresses) in
            given.into_iter().chain([("--cluster.controllers", &*self.cluster.controllers)])
        {
            for address in addresses {
                let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
                let anywhere = ["0.0.0.0", "[::]"].iter().any(|any| address.starts_with(any));
                if anywhere {
                    bail!("{flag}: no member reaches another by {address}: give its own address");
                }
                if !port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0)) {
                    bail!("{flag}: not HOST:PORT: {address:?}");
                }
            }
        }
        let listens_anywhere = self.grpc.listen_address.ip().is_unspecified();
        if listens_anywhere && self.grpc.advertise_address.is_none() && self.is_clustered() {
            bail!(
                "--grpc.listen-address={} is none by which members reach this one: \
                 give --grpc.advertise-address",
                self.grpc.listen_address
            );
        }
        Ok(())
    }

    /// The gRPC address by which others reach this process.
    pub(crate) fn advertised(&self) -> String {
        let listen = self.grpc.listen_address.to_string();
        self.grpc.advertise_address.clone().unwrap_or(listen)
    }

    /// The gRPC addresses of all controllers.
    pub(crate) fn controllers(&self) -> Vec<String> {
        match self.cluster.controllers.is_empty() {
            true => vec![self.advertised()],
            false => self.cluster.controllers.clone(),
        }
    }

    /// Whether more than this process may store samples.
    pub(crate) fn is_clustered(&self) -> bool {
        self.name != "all" || self.controllers().len() > 1
    }
}

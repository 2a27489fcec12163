//! `/` of every role: a page with links and the state of the process and its cluster. Links are relative: the
//! process may have a prefix (`--web.external-url`).

use std::fmt::Write as _;

use pando_catalog::{BlocksView, RoutingView, ShardStage};

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{text-align:left;padding:.2rem .9rem .2rem 0;\
border-bottom:1px solid #8884}code{font-size:.95em}";

/// Links of every role.
const LINKS: [(&str, &str); 3] =
    [("-/healthy", "health"), ("-/ready", "readiness"), ("metrics", "metrics")];

/// Links of a role that answers queries.
const QUERY_LINKS: [(&str, &str); 5] = [
    ("api/v1/status/buildinfo", "build"),
    ("api/v1/status/config", "configuration"),
    ("api/v1/status/tsdb", "cardinality"),
    ("api/v1/targets", "targets"),
    ("api/v1/labels", "labels"),
];

/// Nodes and shards that are shown, of each.
const ROWS_MAX: usize = 500;

/// What the page shows.
pub(super) struct Home<'a> {
    /// The subcommand.
    pub(super) name: &'a str,
    pub(super) node: String,
    /// Where the process is in its life.
    pub(super) state: &'a str,
    /// Whether it answers queries.
    pub(super) queries: bool,
    /// The catalog as far as it is known.
    pub(super) routing: Option<&'a RoutingView>,
    /// Where the process follows blocks.
    pub(super) blocks: Option<&'a BlocksView>,
}

impl Home<'_> {
    pub(super) fn page(&self) -> String {
        let mut out = String::from(
            "<!doctype html><html lang=en><meta charset=utf-8><title>Pando</title><style>",
        );
        out.push_str(STYLE);
        out.push_str("</style><h1>Pando</h1><p>Links: ");
        let more = if self.queries { &QUERY_LINKS[..] } else { &[] };
        for (at, (path, name)) in LINKS.iter().chain(more).enumerate() {
            let _ = write!(out, "{}<a href=\"{path}\">{name}</a>", if at > 0 { ", " } else { "" });
        }
        let _ = write!(
            out,
            ".</p><h2>Process</h2><table><tr><th>Role<td>{}<tr><th>Node<td><code>{}</code>\
             <tr><th>State<td>{}<tr><th>Version<td>{}</table>",
            escape(self.name),
            escape(&self.node),
            self.state,
            env!("CARGO_PKG_VERSION"),
        );
        match self.routing.filter(|routing| routing.version().0 > 0) {
            Some(routing) => cluster(&mut out, routing, self.blocks),
            None => out.push_str("<p>The catalog of the cluster is not known yet.</p>"),
        }
        out.push_str("</html>\n");
        out
    }
}

fn cluster(out: &mut String, routing: &RoutingView, blocks: Option<&BlocksView>) {
    let open = routing.shards().values().filter(|s| s.stage == ShardStage::Open).count();
    let cluster = routing.cluster().map_or("not founded".to_string(), |id| id.to_string());
    let _ = write!(
        out,
        "<h2>Cluster</h2><table><tr><th>Cluster<td><code>{cluster}</code>\
         <tr><th>Catalog version<td>{}<tr><th>Nodes<td>{}<tr><th>Shards<td>{open} open of {}\
         <tr><th>Tenants<td>{}",
        routing.version(),
        routing.nodes().len(),
        routing.shards().len(),
        routing.tenants().len(),
    );
    if let Some(blocks) = blocks {
        let _ = write!(out, "<tr><th>Blocks<td>{}", blocks.len());
    }
    out.push_str("</table>");
    nodes(out, routing);
    shards(out, routing, blocks);
}

fn nodes(out: &mut String, routing: &RoutingView) {
    out.push_str("<h2>Nodes</h2><table><tr><th>Node<th>Roles<th>gRPC<th>HTTP<th>Zone");
    for node in routing.nodes().values().take(ROWS_MAX) {
        let roles: Vec<&str> = node.roles.iter().map(|role| role.as_str()).collect();
        let _ = write!(
            out,
            "<tr><td><code>{}</code><td>{}<td>{}<td>{}<td>{}",
            node.id,
            roles.join(", "),
            escape(&node.grpc_address),
            escape(&node.http_address),
            escape(&node.zone),
        );
    }
    out.push_str("</table>");
}

fn shards(out: &mut String, routing: &RoutingView, blocks: Option<&BlocksView>) {
    out.push_str("<h2>Shards</h2><table><tr><th>Shard<th>Stage<th>Members<th>Next cut");
    for shard in routing.shards().values().take(ROWS_MAX) {
        let members: Vec<String> = shard.members.iter().map(ToString::to_string).collect();
        let stage = match shard.stage {
            ShardStage::Open => "open",
            ShardStage::Sealed => "sealed",
            ShardStage::Closed => "closed",
        };
        let cut = blocks.and_then(|blocks| blocks.next_cut(shard.id));
        let cut = cut.map_or(String::new(), |cut| cut.to_string());
        let _ = write!(
            out,
            "<tr><td>{}<td>{stage}<td><code>{}</code><td>{cut}",
            shard.id,
            members.join(" ")
        );
    }
    out.push_str("</table>");
}

/// Text for HTML: names of nodes and zones are whatever their owner wrote.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pando_catalog::{Catalog, Command, Node, Role};
    use pando_model::{CatalogVersion, ClusterId, NodeId};

    use super::*;

    fn routing() -> RoutingView {
        let node = |id: u64, zone: &str| Node {
            id: NodeId(id),
            roles: BTreeSet::from([Role::Ingester]),
            grpc_address: format!("n{id}:1"),
            http_address: String::new(),
            zone: zone.to_string(),
            feature_level: 1,
            joined_ms: 0,
            agent_group: String::new(),
        };
        let commands = [
            Command::InitCluster { cluster: ClusterId(7), feature_level: 1 },
            Command::RegisterNode { node: node(1, "z"), now_ms: 1 },
            Command::RegisterNode { node: node(2, "<script>\"x\""), now_ms: 1 },
            Command::OpenShards { members: vec![vec![NodeId(1)]], now_ms: 1 },
        ];
        let mut catalog = Catalog::new();
        for (at, command) in (1..).zip(&commands) {
            catalog.apply(at, command).expect("the command fits");
        }
        let mut routing = RoutingView::new();
        routing.apply(&catalog.routing_since(CatalogVersion(0)).expect("a state")).expect("fits");
        routing
    }

    fn page(routing: Option<&RoutingView>, queries: bool) -> String {
        let (name, node, state) = ("agent", "1".to_string(), "ready");
        Home { name, node, state, queries, routing, blocks: None }.page()
    }

    #[test]
    fn the_page_shows_the_cluster_and_escapes_what_others_wrote() {
        let page = page(Some(&routing()), false);
        assert!(page.contains("&lt;script&gt;&quot;x&quot;"), "{page}");
        assert!(!page.contains("<script>"));
        assert!(page.contains("<tr><td>1<td>open<td>"));
        assert!(page.contains("Nodes<td>2"));
        assert!(page.contains("<td>agent") && page.contains("<td>ready"));
        assert!(super::tests::page(None, false).contains("not known yet"));
    }

    #[test]
    fn links_are_relative_and_those_that_the_role_serves() {
        for queries in [false, true] {
            let page = page(None, queries);
            assert!(!page.contains("href=\"/"), "{page}");
            assert!(page.contains("href=\"-/ready\"") && page.contains("href=\"metrics\""));
            assert_eq!(page.contains("href=\"api/v1/targets\""), queries);
        }
    }
}
